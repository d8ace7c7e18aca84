//! Topics, judged: partitions and copies, how long records are kept, how large they may be.

use super::Report;
use crate::kafka::Layout;
use std::collections::BTreeMap;
use std::time::Duration;

/// A topic's settings, as its brokers tell them.
pub(super) type Settings = BTreeMap<String, String>;

/// What brokers take without a setting of their own, in bytes.
const USUAL_MAX: i64 = 1_048_588;

/// What librdkafka's producers send without a setting of their own, in bytes.
const USUAL_SENT: i64 = 1_000_000;

/// Records should survive an outage of this length.
const OUTAGE: Duration = Duration::from_secs(3600);

/// A warm-up begins this much before the longest window.
const MARGIN: Duration = Duration::from_secs(15 * 60);

/// Judges partitions and their copies, against as many brokers and workers.
pub(super) fn layout(
    topic: &str,
    partitions: &[Layout],
    brokers: usize,
    workers: usize,
    report: &mut Report,
) {
    let count = partitions.len();
    let unled = partitions.iter().filter(|one| !one.led).count();
    let behind = partitions
        .iter()
        .filter(|one| one.in_sync < one.replicas)
        .count();
    let replicas = partitions.iter().map(|one| one.replicas).min();
    let replicas = replicas.unwrap_or_default();
    if unled > 0 {
        report.problem(
            "topic",
            format!("{topic}: {unled} of {count} partitions have no leader, and can be neither read nor written"),
            "bring the brokers back that hold them",
        );
    } else if behind > 0 {
        report.warning(
            "topic",
            format!("{topic}: {behind} of {count} partitions have copies that are not up to date"),
            "see whether a broker is down or slow",
        );
    } else if replicas == 1 && brokers > 1 {
        report.warning(
            "topic",
            format!("{topic}: one copy of each partition on {brokers} brokers: a lost disk loses records"),
            "replicate it to three brokers",
        );
    } else {
        report.ok(
            "topic",
            format!("{topic}: {count} partitions, copies of each: {replicas}"),
        );
    }
    if workers > count {
        report.warning(
            "workers",
            format!(
                "{workers} workers for {count} partitions: {} have nothing to do",
                workers - count
            ),
            "fewer --workers, or more partitions",
        );
    }
}

/// Judges how long the input topic keeps records; `window` is the longest that windows look back.
pub(super) fn retention(
    topic: &str,
    settings: &Settings,
    window: Option<Duration>,
    report: &mut Report,
) {
    let number = |name: &str| settings.get(name).and_then(|text| text.parse::<i64>().ok());
    let compacted = settings.get("cleanup.policy");
    if compacted.is_some_and(|policy| policy.contains("compact")) {
        report.problem(
            "retention",
            format!("{topic} is compacted: of each key only the latest record is kept"),
            format!("kafka-configs --alter --topic {topic} --add-config cleanup.policy=delete"),
        );
    }
    let bounded = number("retention.bytes").filter(|bytes| *bytes >= 0);
    if let Some(bytes) = bounded {
        report.warning(
            "retention",
            format!("{topic} keeps at most {bytes} bytes a partition, however young they are"),
            "make sure that they last for the longest window and the longest outage",
        );
    }
    let Some(kept) = number("retention.ms").and_then(|millis| u64::try_from(millis).ok()) else {
        if bounded.is_none() && settings.contains_key("retention.ms") {
            report.ok("retention", format!("{topic} keeps records for ever"));
        }
        return;
    };
    let kept = Duration::from_millis(kept);
    let text = humantime::format_duration(kept);
    let wanted = window.map(|window| window + MARGIN);
    match (window, wanted) {
        (Some(window), Some(wanted)) if kept < wanted => report.problem(
            "retention",
            format!(
                "{topic} keeps records for {text}, the longest window looks back {}: windows that are built from \
                 the topic are incomplete",
                humantime::format_duration(window)
            ),
            format!("raise retention.ms of {topic} to at least {}", wanted.as_millis()),
        ),
        _ if kept < OUTAGE => report.warning(
            "retention",
            format!("{topic} keeps records for {text}: a longer outage loses some"),
            format!("raise retention.ms of {topic}"),
        ),
        _ => report.ok("retention", format!("{topic} keeps records for {text}")),
    }
}

/// How large records may be, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sizes {
    /// What the input topic takes.
    pub(super) input: Option<i64>,
    /// What the topic of dead letters takes.
    pub(super) letters: Option<i64>,
    /// What our own producers send (`message.max.bytes`).
    pub(super) sent: Option<i64>,
    /// The largest record of the sample.
    pub(super) largest: usize,
}

/// The limit in a topic's settings.
pub(super) fn max_message(settings: &Settings) -> Option<i64> {
    settings.get("max.message.bytes")?.parse().ok()
}

/// Judges how large records of `topic` may be, and whether its dead letters can be as large.
pub(super) fn sizes(topic: &str, sizes: &Sizes, report: &mut Report) {
    let Some(input) = sizes.input else {
        report.warning(
            "size",
            format!("the brokers do not tell how large records of {topic} may be"),
            "grant DESCRIBE_CONFIGS on the topic",
        );
        return;
    };
    let largest = sizes.largest as i64;
    let before = report.findings.len();
    if input < USUAL_MAX || largest > input / 10 * 8 {
        let close = match largest {
            0 => String::new(),
            largest => format!(" (the largest of the sample has {largest})"),
        };
        report.warning(
            "size",
            format!(
                "message too large: {topic} refuses records of more than {input} bytes to their producers{close}"
            ),
            format!("raise max.message.bytes of {topic} and message.max.bytes or max.request.size of its producers, or send a claim"),
        );
    }
    if let Some(letters) = sizes.letters.filter(|letters| *letters < input) {
        report.warning(
            "size",
            format!(
                "message too large: {topic} takes records of {input} bytes, but its dead letters may have {letters} \
                 only: those of larger records carry length and SHA-256 instead of the value"
            ),
            format!("raise max.message.bytes of the dead-letter topic to {input}"),
        );
    }
    let sent = sizes.sent.unwrap_or(USUAL_SENT);
    // By default brokers take a little more than clients send, which needs no word.
    if sizes.letters.is_some() && sent < input && input > USUAL_MAX {
        report.warning(
            "size",
            format!(
                "message too large: {topic} takes records of {input} bytes, but we send dead letters of at most \
                 {sent}: those of larger records carry length and SHA-256 instead of the value"
            ),
            format!("message.max.bytes={input} in the file of --kafka-config"),
        );
    }
    if report.findings.len() == before {
        report.ok(
            "size",
            format!(
                "{topic} takes records of {input} bytes, the largest of the sample has {largest}"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn only(judge: impl FnOnce(&mut Report)) -> Vec<Level> {
        let mut report = Report::default();
        judge(&mut report);
        report.findings.iter().map(|one| one.level).collect()
    }

    #[test]
    fn retention_against_windows() {
        let kept = |text: &str, window| {
            let settings = Settings::from([("retention.ms".to_owned(), text.to_owned())]);
            only(|report| retention("t", &settings, window, report))
        };
        assert_eq!(kept("-1", Some(24 * HOUR)), [Level::Ok]);
        assert_eq!(kept("604800000", Some(24 * HOUR)), [Level::Ok]);
        assert_eq!(kept("86400000", Some(24 * HOUR)), [Level::Problem]);
        assert_eq!(kept("86400000", None), [Level::Ok]);
        assert_eq!(kept("60000", None), [Level::Warning]);
        let compacted = Settings::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
        let levels = only(|report| retention("t", &compacted, None, report));
        assert_eq!(levels, [Level::Problem]);
    }

    #[test]
    fn sizes_of_inputs_and_dead_letters() {
        let usual = Sizes {
            input: Some(USUAL_MAX),
            letters: Some(USUAL_MAX),
            sent: None,
            largest: 200,
        };
        let judged = |one: Sizes| only(|report| sizes("t", &one, report));
        assert_eq!(judged(usual), [Level::Ok]);
        let small_letters = Sizes {
            letters: Some(1_000),
            ..usual
        };
        assert_eq!(judged(small_letters), [Level::Warning]);
        let large = Sizes {
            input: Some(10_000_000),
            letters: Some(10_000_000),
            ..usual
        };
        assert_eq!(judged(large), [Level::Warning], "our producer's own limit");
        let sent = Some(10_000_000);
        assert_eq!(judged(Sizes { sent, ..large }), [Level::Ok]);
        let close = Sizes {
            largest: 1_000_000,
            ..usual
        };
        assert_eq!(judged(close), [Level::Warning]);
    }

    #[test]
    fn partitions_against_workers_and_brokers() {
        let one = Layout {
            partition: 0,
            led: true,
            replicas: 1,
            in_sync: 1,
        };
        let judged = |one, brokers, workers| {
            only(|report| layout("t", &[one, one], brokers, workers, report))
        };
        assert_eq!(judged(one, 1, 2), [Level::Ok]);
        assert_eq!(judged(one, 3, 3), [Level::Warning, Level::Warning]);
        assert_eq!(judged(Layout { led: false, ..one }, 1, 1), [Level::Problem]);
        let late = Layout { replicas: 3, ..one };
        assert_eq!(judged(late, 3, 1), [Level::Warning]);
    }
}
