//! Judges topics: partitions, replicas and retention.

use super::Report;
use crate::kafka::Layout;
use std::collections::BTreeMap;
use std::time::Duration;

/// A topic's settings, as its brokers report them.
pub(super) type Settings = BTreeMap<String, String>;

/// Records should survive an outage of this length.
const OUTAGE: Duration = Duration::from_secs(3600);

/// A rebuild begins this much before the longest window.
const MARGIN: Duration = Duration::from_secs(15 * 60);

/// Judges partitions and their replicas, given the numbers of brokers and workers.
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
            format!("{topic}: {count} partitions, replication factor {replicas}"),
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

/// Judges the retention of the input topic; `window` is the length of the longest window.
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
            report.ok("retention", format!("{topic} never deletes records"));
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
