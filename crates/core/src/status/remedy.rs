//! What to do about each reason for not being ready.

use crate::health::Kind;

/// The remedy for the state of a part; `reason` is what the part says.
pub(super) fn remedy(part: &str, kind: Kind, reason: &str) -> &'static str {
    let brokers = "see that the brokers run, and that --brokers and their advertised listeners can be reached from here; \
        the subcommand doctor finds the fault";
    let redis = "see that Redis runs and has loaded its data, and that --redis-url and its password are right; the \
        subcommand doctor finds the fault";
    match (part, kind) {
        ("brokers", _) => brokers,
        ("redis", _) => redis,
        ("store", _) => {
            "see that the disk has room, or that the bucket can be reached and written; the write is repeated by itself"
        }
        (part, _) if part.starts_with("claims") => {
            "see that the store behind --claims can be reached; the records wait, and go on by themselves"
        }
        (_, Kind::Waiting) if reason.starts_with("waiting for topic") => {
            "create the topic, or correct --topic; the process goes on by itself"
        }
        (_, Kind::Waiting) if reason.starts_with("waiting for the brokers") => brokers,
        (_, Kind::Waiting) if reason.starts_with("waiting for Redis") => redis,
        (_, Kind::Waiting) => {
            "passes by itself; if it lasts for minutes, the log and the subcommand doctor say what is missing"
        }
        (_, Kind::Failed) => {
            "it is tried again by itself; the log has each failure, and the subcommand doctor looks for the cause"
        }
        (_, Kind::Stalled | Kind::Silent) => {
            "the server that it waits for does not answer: see the brokers, Redis, or the store"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_the_remedy_of_its_cause() {
        let table = [
            ("brokers", Kind::Silent, "no answer yet", "--brokers"),
            ("redis", Kind::Silent, "no answer yet", "--redis-url"),
            ("store", Kind::Failed, "disk full", "disk"),
            ("claims of worker 0", Kind::Waiting, "away", "--claims"),
            ("start", Kind::Waiting, "waiting for topic t", "create"),
            (
                "start",
                Kind::Waiting,
                "waiting for Redis at r",
                "--redis-url",
            ),
            (
                "start",
                Kind::Waiting,
                "waiting for the brokers at b",
                "--brokers",
            ),
            ("worker 0", Kind::Waiting, "joining the group", "by itself"),
            ("worker 0", Kind::Failed, "no write", "tried again"),
            ("worker 0", Kind::Stalled, "4 s", "does not answer"),
        ];
        for (part, kind, reason, expected) in table {
            let told = remedy(part, kind, reason);
            assert!(told.contains(expected), "{part}: {told}");
        }
    }
}
