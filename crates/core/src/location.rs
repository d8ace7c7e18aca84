//! Places of files: a local folder, or a bucket of an S3-compatible store.

use crate::exit::Failure;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientConfigKey, RetryConfig};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Time limit for repeating one request before its error is reported; the callers retry for as long as it takes.
const REPEAT: Duration = Duration::from_secs(10);

/// A place of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A local folder.
    Folder(PathBuf),
    /// `s3://bucket/prefix`.
    Bucket(Bucket),
}

/// The objects of a bucket whose keys begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    name: String,
    /// As it stands in the keys, without a slash at either end: a space, `#`, `?` or `%20` means itself.
    prefix: Path,
}

impl Location {
    /// Parses a folder's path, or `s3://bucket/prefix`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            None if text.is_empty() => Err("give a folder or s3://bucket/prefix".into()),
            // A misspelt URL, taken for a folder, would be written to for days before anyone noticed.
            None if has_scheme(text) => Err(format!(
                "use s3://bucket/prefix with two slashes, or ./{text} for a folder of this name"
            )),
            None => Ok(Self::Folder(text.into())),
            Some(("s3", rest)) if !rest.is_empty() && !rest.starts_with('/') => {
                let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                Ok(Self::Bucket(Bucket {
                    name: bucket_name(name)?,
                    prefix: Path::parse(prefix).map_err(|error| error.to_string())?,
                }))
            }
            Some(_) => Err("use a folder or s3://bucket/prefix".into()),
        }
    }
}

/// A bucket's name, if it can be one: it becomes part of a host or a path.
fn bucket_name(name: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    match name.bytes().all(good) {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "{name:?} is no name of a bucket: use letters, digits, dots and hyphens"
        )),
    }
}

/// True if a text begins as URLs do: `s3:`, `file:`; one letter is a drive.
fn has_scheme(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.name, self.prefix)
    }
}

/// The objects of a bucket below its prefix. `builder` brings credentials, region and endpoint, as
/// [`AmazonS3Builder::from_env`] takes them from the usual `AWS_...` variables.
///
/// # Errors
///
/// Wrong usage: one of these cannot be used.
pub fn bucket(place: &Bucket, builder: AmazonS3Builder) -> anyhow::Result<PrefixStore<AmazonS3>> {
    let retry = RetryConfig {
        max_retries: 5,
        retry_timeout: REPEAT,
        ..RetryConfig::default()
    };
    if let Some(problem) = problem(&builder) {
        return Err(Failure::usage(problem));
    }
    // We delete one file at a time, which every provider supports.
    let bucket = builder
        .with_bucket_name(&place.name)
        .with_retry(retry)
        .with_disable_bulk_delete(true)
        .build()
        .map_err(|error| Failure::usage(format!("the AWS_... variables: {error}")))?;
    Ok(PrefixStore::new(bucket, place.prefix.clone()))
}

/// Faults that the client would only find at its first request, by a panic: an endpoint that is no URL, credentials that
/// cannot stand in a header.
fn problem(builder: &AmazonS3Builder) -> Option<String> {
    use AmazonS3ConfigKey as Key;
    let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    for (variable, key) in [
        ("AWS_ACCESS_KEY_ID", Key::AccessKeyId),
        ("AWS_SECRET_ACCESS_KEY", Key::SecretAccessKey),
        ("AWS_SESSION_TOKEN", Key::Token),
        ("AWS_REGION", Key::Region),
    ] {
        if builder
            .get_config_value(&key)
            .is_some_and(|text| !visible(&text))
        {
            return Some(format!(
                "{variable} holds a space, a line break or a letter beyond ASCII: remove it"
            ));
        }
    }
    let endpoint = builder.get_config_value(&Key::Endpoint)?;
    let told = |what: &str| Some(format!("AWS_ENDPOINT {endpoint:?}: {what}"));
    let url = Url::parse(&endpoint).ok();
    let scheme = url.filter(Url::has_host).map(|url| url.scheme().to_owned());
    match scheme.as_deref() {
        Some("https") => None,
        Some("http") => {
            let allowed = builder.get_config_value(&Key::Client(ClientConfigKey::AllowHttp));
            match allowed.as_deref() {
                Some("true") => None,
                _ => told("set AWS_ALLOW_HTTP=true for http://, or use https://"),
            }
        }
        _ => told("use a URL such as https://s3.example.com or http://localhost:9000"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_urls_are_no_folders() {
        for bad in [
            "",
            "s3:/bucket/x",
            "s3:bucket",
            "S3:/bucket",
            "file:/data",
            "gs://bucket",
            "s3:///x",
            "s3://",
            "s3://a b/x",
            "s3://a#b",
            "s3://bucket/a/../b",
        ] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
        for folder in [
            "data",
            "./s3:/bucket",
            "/data/2026-01-01T10:00",
            "a b:c",
            "C:data",
        ] {
            assert_eq!(Location::parse(folder), Ok(Location::Folder(folder.into())));
        }
    }

    #[test]
    fn what_the_client_would_panic_at_is_refused_with_its_variable() {
        let Ok(Location::Bucket(place)) = Location::parse("s3://bucket/prefix") else {
            panic!("no bucket");
        };
        let outcome = |settings: &[(AmazonS3ConfigKey, &str)]| {
            let usual = AmazonS3Builder::new().with_region("eu-west-1");
            let usual = usual.with_access_key_id("id").with_secret_access_key("s");
            let with = |builder: AmazonS3Builder, (key, value): &(AmazonS3ConfigKey, &str)| {
                builder.with_config(*key, *value)
            };
            let built = bucket(&place, settings.iter().fold(usual, with));
            built.map(drop).map_err(|error| {
                assert_eq!(Failure::code(&error), crate::exit::Code::Usage);
                error.to_string()
            })
        };
        use AmazonS3ConfigKey as Key;
        for endpoint in [
            "localhost:9000",
            "minio",
            "http://",
            "",
            "http://h:99999",
            "http://[::1",
            "ftp://h",
        ] {
            let told = outcome(&[(Key::Endpoint, endpoint)]).unwrap_err();
            assert!(told.starts_with("AWS_ENDPOINT "), "{told}");
        }
        for (key, variable) in [
            (Key::AccessKeyId, "AWS_ACCESS_KEY_ID"),
            (Key::SecretAccessKey, "AWS_SECRET_ACCESS_KEY"),
            (Key::Token, "AWS_SESSION_TOKEN"),
            (Key::Region, "AWS_REGION"),
        ] {
            for text in ["a\nb", "a b", "ü"] {
                let told = outcome(&[(key, text)]).unwrap_err();
                assert!(told.starts_with(variable), "{told}");
            }
        }
        let http = (Key::Endpoint, "http://localhost:9000");
        assert!(
            outcome(&[http])
                .unwrap_err()
                .contains("AWS_ALLOW_HTTP=true")
        );
        let allow = (Key::Client(ClientConfigKey::AllowHttp), "true");
        assert_eq!(outcome(&[http, allow]), Ok(()));
        assert_eq!(
            outcome(&[(Key::Endpoint, "https://s3.example.com")]),
            Ok(())
        );
        assert_eq!(outcome(&[]), Ok(()));
        let maybe = (Key::Client(ClientConfigKey::AllowHttp), "maybe");
        assert!(outcome(&[maybe]).is_err());
    }
}
