//! The meaning of a Redis error for a start: worth a retry, a refusal, or the user's mistake; and the remedy.

use crate::exit::Failure;
use crate::redis_access::RedisAccess;

/// The kind of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Redis is away, or not ready yet: a retry may help.
    Passing,
    /// Redis answers, and refuses.
    Refused,
    /// The user's flags do not fit the data in Redis.
    Misused,
}

/// The verdict on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The kind of error.
    pub meaning: Meaning,
    /// The remedy, as an instruction.
    pub remedy: &'static str,
}

use Meaning::{Misused, Passing, Refused};

const LOGIN: &str = "check user and password in --redis-url (REDIS_URL) or --redis-password-file; leave them out where \
     Redis asks for none";
const REPLICA: &str =
    "it is a replica, which takes no writes: give the primary's address in --redis-url";
const CLUSTER: &str = "it runs in cluster mode, which is not supported: use a Redis or Valkey with cluster-enabled no";

/// Codes at the beginning of Redis errors, each with its meaning and remedy.
const CODES: &[(&str, Meaning, &str)] = &[
    (
        "LOADING",
        Passing,
        "it is loading its data: give it more time with --connect-timeout",
    ),
    (
        "BUSY",
        Passing,
        "a script holds it up: end it with SCRIPT KILL",
    ),
    (
        "NOREPLICAS",
        Passing,
        "it misses the replicas of its min-replicas-to-write",
    ),
    (
        "ERR max number of clients",
        Passing,
        "raise its maxclients, or close other connections",
    ),
    ("NOAUTH", Refused, LOGIN),
    ("WRONGPASS", Refused, LOGIN),
    ("ERR invalid password", Refused, LOGIN),
    (
        "NOPERM",
        Refused,
        "let the user of --redis-url use all commands on the keys of --key-prefix (ACL SETUSER name ~prefix* +@all)",
    ),
    ("READONLY", Refused, REPLICA),
    ("MASTERDOWN", Refused, REPLICA),
    (
        "OOM",
        Refused,
        "its memory is full: raise its maxmemory, or remove what else it keeps",
    ),
    (
        "MISCONF",
        Refused,
        "it cannot save its data, and takes no writes until it can: see its log and its disk",
    ),
    (
        "DENIED",
        Refused,
        "it is in protected mode: give it a password, or have it bound to the addresses in use",
    ),
    ("MOVED", Refused, CLUSTER),
    ("ASK", Refused, CLUSTER),
    ("CROSSSLOT", Refused, CLUSTER),
    ("CLUSTERDOWN", Refused, CLUSTER),
    ("TRYAGAIN", Refused, CLUSTER),
    (
        "WRONGTYPE",
        Misused,
        "another program keeps something else under this name: use another --key-prefix",
    ),
    (
        "ERR DB index",
        Misused,
        "give a database that Redis has at the end of --redis-url",
    ),
    (
        "ERR invalid DB index",
        Misused,
        "give a number of a database at the end of --redis-url",
    ),
    (
        "ERR unknown command",
        Refused,
        "use Redis 6.2 or later, or Valkey, with none of its commands renamed",
    ),
];

/// The verdict on an error reply by the code at its beginning; `None` for others.
pub fn by_code(error: &str) -> Option<Verdict> {
    let (_, meaning, remedy) = CODES.iter().find(|(code, ..)| {
        let rest = error.strip_prefix(code);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    })?;
    Some(Verdict {
        meaning: *meaning,
        remedy,
    })
}

impl RedisAccess {
    /// Judges an error of this Redis: an error reply, which begins with a code, or an error of the connection.
    pub fn verdict(&self, error: &str) -> Verdict {
        let says = |parts: &[&str]| parts.iter().any(|part| error.contains(part));
        let (meaning, remedy) = if let Some(verdict) = by_code(error) {
            return verdict;
        } else if says(&["ertificate"]) {
            (Refused, "check --redis-ca and the certificate of Redis")
        } else if says(&["assword authentication failed"]) {
            (Refused, LOGIN)
        } else if self.is_tls()
            && says(&["corrupt message", "temporarily unavailable", "timed out"])
        {
            (
                Passing,
                "it may speak no TLS: then use redis:// in --redis-url",
            )
        } else if !self.is_tls() && says(&["end of file", "reset", "closed", "roken pipe"]) {
            (
                Passing,
                "it hung up at once: use rediss:// in --redis-url if it asks for TLS",
            )
        } else if is_answer(error) {
            (Refused, "see the log of Redis")
        } else {
            (
                Passing,
                "check --redis-url (REDIS_URL) and that a Redis listens there",
            )
        };
        Verdict { meaning, remedy }
    }

    /// The failure with which an error ends a program.
    pub fn failure(&self, error: &str) -> anyhow::Error {
        let Verdict { meaning, remedy } = self.verdict(error);
        let text = format!("Redis at {self}: {error}; {remedy}");
        match meaning {
            Passing | Refused => Failure::unreachable(text),
            Misused => Failure::usage(text),
        }
    }
}

/// True for an error reply: it begins with a code in capitals; an error of the connection does not.
fn is_answer(error: &str) -> bool {
    let code = error.split(' ').next().unwrap_or_default();
    code.len() > 2 && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Code;

    fn access(url: &str) -> RedisAccess {
        RedisAccess {
            url: url.parse().unwrap(),
            authorities: None,
            identity: None,
        }
    }

    #[test]
    fn errors_are_waited_for_refused_or_the_users() {
        let (plain, tls) = (access("redis://r:6379"), access("rediss://r:6379"));
        let table = [
            (
                &plain,
                "LOADING Redis is loading the dataset in memory",
                Passing,
                "--connect-timeout",
            ),
            (
                &plain,
                "BUSY Redis is busy running a script.",
                Passing,
                "SCRIPT KILL",
            ),
            (
                &plain,
                "NOREPLICAS Not enough good replicas to write.",
                Passing,
                "min-replicas",
            ),
            (
                &plain,
                "ERR max number of clients reached",
                Passing,
                "maxclients",
            ),
            (
                &plain,
                "NOAUTH Authentication required.",
                Refused,
                "--redis-password-file",
            ),
            (
                &plain,
                "WRONGPASS invalid username-password pair",
                Refused,
                "password",
            ),
            (
                &plain,
                "Password authentication failed - AuthenticationFailed",
                Refused,
                "leave them out",
            ),
            (
                &plain,
                "NOPERM User u has no permissions to run the 'set' command",
                Refused,
                "ACL SETUSER",
            ),
            (
                &plain,
                "READONLY You can't write against a read only replica.",
                Refused,
                "primary",
            ),
            (
                &plain,
                "MASTERDOWN Link with MASTER is down",
                Refused,
                "primary",
            ),
            (
                &plain,
                "OOM command not allowed when used memory > 'maxmemory'.",
                Refused,
                "maxmemory",
            ),
            (
                &plain,
                "MISCONF Redis is configured to save RDB snapshots",
                Refused,
                "disk",
            ),
            (
                &plain,
                "DENIED Redis is running in protected mode",
                Refused,
                "protected mode",
            ),
            (&plain, "MOVED 3999 127.0.0.1:6381", Refused, "cluster mode"),
            (
                &plain,
                "CROSSSLOT Keys in request don't hash to the same slot",
                Refused,
                "cluster mode",
            ),
            (
                &plain,
                "CLUSTERDOWN Hash slot not served",
                Refused,
                "cluster mode",
            ),
            (
                &plain,
                "WRONGTYPE Operation against a key holding",
                Misused,
                "--key-prefix",
            ),
            (&plain, "ERR DB index is out of range", Misused, "database"),
            (&plain, "ERR unknown command 'MULTI'", Refused, "6.2"),
            (&plain, "ERR something new", Refused, "log of Redis"),
            (&plain, "NEWCODE something new", Refused, "log of Redis"),
            (&plain, "BUSYGROUP of another kind", Refused, "log of Redis"),
            (
                &plain,
                "Connection refused (os error 111)",
                Passing,
                "listens there",
            ),
            (&plain, "unexpected end of file", Passing, "rediss://"),
            (
                &tls,
                "received corrupt message of type InvalidContentType",
                Passing,
                "redis://",
            ),
            (
                &tls,
                "invalid peer certificate: UnknownIssuer",
                Refused,
                "--redis-ca",
            ),
        ];
        for (access, error, meaning, remedy) in table {
            let found = access.verdict(error);
            assert_eq!(found.meaning, meaning, "{error}");
            assert!(found.remedy.contains(remedy), "{error}: {}", found.remedy);
        }
    }

    #[test]
    fn each_code_is_in_the_table_once_and_ends_with_its_exit_code() {
        let access = access("redis://:s3cret@r:7000");
        for (code, meaning, _) in CODES {
            assert_eq!(CODES.iter().filter(|(other, ..)| other == code).count(), 1);
            let failure = access.failure(&format!("{code} text"));
            let expected = match meaning {
                Passing | Refused => Code::Unreachable,
                Misused => Code::Usage,
            };
            assert_eq!(Failure::code(&failure), expected, "{code}");
            let text = failure.to_string();
            assert!(text.contains(code) && text.contains("r:7000"), "{text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}
