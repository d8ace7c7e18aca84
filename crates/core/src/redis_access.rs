//! The way to a Redis: address, user, password and trusted authorities; secrets come from files or the environment.

use crate::settings::Problems;
use std::fmt;
use std::path::PathBuf;
use url::Url;

/// The flags about Redis, as the user wrote them.
#[derive(clap::Args, Clone)]
pub struct RedisFlags {
    /// Redis with the features: redis://[user[:password]@]host[:port], or rediss:// for TLS
    #[arg(
        long,
        env = "REDIS_URL",
        hide_env_values = true,
        default_value = "redis://localhost:6379",
        value_name = "URL",
        global = true
    )]
    pub redis_url: String,

    /// File with the password of the user in --redis-url
    #[arg(
        long,
        env = "TIDEMILL_REDIS_PASSWORD_FILE",
        value_name = "FILE",
        global = true,
        hide_short_help = true
    )]
    pub redis_password_file: Option<PathBuf>,

    /// Authorities (PEM) to trust for the certificate of Redis [default: the system's]
    #[arg(
        long,
        env = "TIDEMILL_REDIS_CA",
        value_name = "FILE",
        global = true,
        hide_short_help = true
    )]
    pub redis_ca: Option<PathBuf>,

    /// Certificate (PEM) to show to Redis
    #[arg(
        long,
        env = "TIDEMILL_REDIS_CERT",
        value_name = "FILE",
        requires = "redis_key",
        global = true,
        hide_short_help = true
    )]
    pub redis_cert: Option<PathBuf>,

    /// Its key (PEM)
    #[arg(
        long,
        env = "TIDEMILL_REDIS_KEY",
        value_name = "FILE",
        requires = "redis_cert",
        global = true,
        hide_short_help = true
    )]
    pub redis_key: Option<PathBuf>,
}

/// The validated way to a Redis. Its URL may hold a password: only the client may see it.
#[derive(Clone)]
pub struct RedisAccess {
    /// `redis://` or `rediss://`, with user and password.
    pub url: Url,
    /// Trusted authorities instead of the system's, as PEM.
    pub authorities: Option<Vec<u8>>,
    /// Our own certificate and its key, as PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl RedisFlags {
    /// Validates the flags, adding to `problems`.
    pub fn validate(&self, problems: &mut Problems) -> Option<RedisAccess> {
        let mut read = |flag: &str, file: &Option<PathBuf>| match file {
            None => Some(None),
            Some(file) => match std::fs::read(file) {
                Ok(bytes) => Some(Some(bytes)),
                Err(error) => {
                    problems.add(format!(
                        "{flag} {}: {error}; name a file that can be read",
                        file.display()
                    ));
                    None
                }
            },
        };
        let password = read("--redis-password-file", &self.redis_password_file);
        let authorities = read("--redis-ca", &self.redis_ca);
        let certificate = read("--redis-cert", &self.redis_cert);
        let key = read("--redis-key", &self.redis_key);
        let url = self.url(password?, problems);
        let (authorities, identity) = (authorities?, certificate?.zip(key?));
        let url = url?;
        if url.scheme() != "rediss" && (authorities.is_some() || identity.is_some()) {
            problems.add(
                "--redis-ca, --redis-cert and --redis-key need TLS: use rediss:// in --redis-url",
            );
        }
        Some(RedisAccess {
            url,
            authorities,
            identity,
        })
    }

    /// The URL with the password in it. Problems never quote the URL, since it may already hold a password.
    fn url(&self, password: Option<Vec<u8>>, problems: &mut Problems) -> Option<Url> {
        let expected = "use redis://host:6379, or rediss:// for TLS";
        let mut url = match Url::parse(&self.redis_url) {
            Ok(url) if matches!(url.scheme(), "redis" | "rediss") && url.has_host() => url,
            Ok(_) => {
                problems.add(format!("--redis-url is no address of a Redis: {expected}"));
                return None;
            }
            Err(error) => {
                problems.add(format!("--redis-url: {error}; {expected}"));
                return None;
            }
        };
        if let Some(password) = password {
            let Ok(password) = String::from_utf8(password) else {
                problems.add("--redis-password-file is not UTF-8");
                return None;
            };
            // Editors end files with a line break; a text that looks like an escape is not one.
            let password = password.trim_end_matches(['\r', '\n']).replace('%', "%25");
            let set = url.set_password(Some(&password));
            if set.is_err() {
                problems.add(format!("--redis-url takes no password: {expected}"));
                return None;
            }
        }
        Some(url)
    }
}

impl RedisAccess {
    /// True if the connection uses TLS.
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "rediss"
    }
}

impl fmt::Display for RedisAccess {
    /// Writes host and port only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        write!(f, "{host}:{}", self.url.port().unwrap_or(6379))
    }
}

impl fmt::Debug for RedisAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisAccess({}://{self})", self.url.scheme())
    }
}

impl fmt::Debug for RedisFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisFlags").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn flags(url: &str) -> RedisFlags {
        RedisFlags {
            redis_url: url.into(),
            redis_password_file: None,
            redis_ca: None,
            redis_cert: None,
            redis_key: None,
        }
    }

    fn validate(flags: &RedisFlags) -> Result<RedisAccess, String> {
        let mut problems = Problems::default();
        let access = flags.validate(&mut problems);
        match problems.finish() {
            Ok(()) => Ok(access.unwrap()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn passwords_come_from_files_and_are_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "s3cret=p@ss/w%rd\n").unwrap();
        let flags = RedisFlags {
            redis_password_file: Some(file),
            ..flags("rediss://alice@redis.example:7000/2")
        };
        let access = validate(&flags).unwrap();
        assert_eq!(
            access.url.as_str(),
            "rediss://alice:s3cret%3Dp%40ss%2Fw%25rd@redis.example:7000/2"
        );
        assert_eq!(access.to_string(), "redis.example:7000");
        for shown in [
            format!("{access:?}"),
            format!("{flags:?}"),
            access.to_string(),
        ] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    #[test]
    fn problems_name_the_flag_and_no_password() {
        for url in [
            "redis//:s3cret@x",
            "http://u:s3cret@x",
            "redis://u:s3cret@:x",
            "unix:///s3cret",
        ] {
            let told = validate(&flags(url)).unwrap_err();
            assert!(
                told.contains("--redis-url") && !told.contains("s3cret"),
                "{told}"
            );
        }
        let plain = RedisFlags {
            redis_ca: Some(Path::new("Cargo.toml").into()),
            ..flags("redis://x")
        };
        assert!(validate(&plain).unwrap_err().contains("rediss://"));
        let absent = RedisFlags {
            redis_ca: Some(Path::new("/no/such").into()),
            ..flags("rediss://x")
        };
        assert!(
            validate(&absent)
                .unwrap_err()
                .contains("--redis-ca /no/such")
        );
    }
}
