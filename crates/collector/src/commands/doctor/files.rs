//! Compares the ends of the files with the log that they are written from.

use crate::dataset::Footer;
use crate::dataset::offset::Offset;
use crate::encode::columns::Misfits;
use tidemill_core::doctor::Report;
use tidemill_core::kafka::lag::Lag;

/// Judges the positions of the partitions that have files.
pub(super) fn judge(topic: &str, ends: &[(i32, Offset)], log: &[Lag], report: &mut Report) {
    let (mut behind, mut lost, mut sound) = (0_u64, 0_u64, true);
    for (partition, position) in ends {
        let Some(lag) = log.iter().find(|lag| lag.partition == *partition) else {
            sound = false;
            other_log(
                report,
                format!(
                    "there are files of {topic} {partition}, and {topic} has no such partition"
                ),
            );
            continue;
        };
        let (oldest, end) = (Offset::from(lag.log.oldest), Offset::from(lag.log.end));
        if *position > end {
            sound = false;
            other_log(
                report,
                format!(
                    "the files of {topic} {partition} reach to {position}, but its log ends at {end}"
                ),
            );
        }
        lost += oldest.since(*position);
        behind += end.since(oldest.max(*position));
    }
    if lost > 0 {
        report.problem(
            "files",
            format!("retention has deleted {lost} records of {topic} beyond the last files: a gap is coming"),
            "raise retention.ms, then start the collector: what is left is collected, the gap recorded",
        );
    } else if ends.is_empty() {
        report.ok(
            "files",
            format!("none of {topic} yet: it is collected from the log's start"),
        );
    } else if sound {
        let count = ends.len();
        report.ok(
            "files",
            format!("those of {count} partitions end {behind} offsets before the end of {topic}"),
        );
    }
}

/// Tells which fields of the newest files' records fitted no column.
pub(super) fn misfits(newest: &[Footer], report: &mut Report) {
    let mut all = Misfits::default();
    newest.iter().for_each(|footer| all.extend(&footer.misfits));
    if all.is_empty() {
        return;
    }
    let rows: u64 = newest.iter().map(|footer| footer.rows).sum();
    let fields = all.iter().map(|(field, count)| format!("{field} {count}"));
    let fields: Vec<String> = fields.collect();
    report.warning(
        "schema",
        format!(
            "in the {rows} rows of the newest files some values fit no column and are kept in _extra: {}",
            fields.join(", ")
        ),
        "`collector infer` prints a schema that takes them: give it as --schema with another --out, and collect again",
    );
}

fn other_log(report: &mut Report, found: String) {
    report.problem(
        "files",
        format!("{found}: the topic was made anew, or is another cluster's"),
        "another --out, or the --brokers and --topic that the files are of",
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_core::doctor::Level;
    use tidemill_core::kafka::LogRange;

    #[test]
    fn ends_within_before_and_beyond_the_log() {
        let lag = |partition| Lag {
            partition,
            committed: None,
            log: LogRange {
                oldest: 10,
                end: 20,
            },
            first_unread: None,
            at_end: false,
        };
        let log = [lag(0), lag(1)];
        for (ends, level, says) in [
            (&[][..], Level::Ok, "from the log's start"),
            (
                &[(0, 20), (1, 13)],
                Level::Ok,
                "2 partitions end 7 offsets before",
            ),
            (&[(0, 20), (1, 7)], Level::Problem, "deleted 3 records"),
            (
                &[(0, 21), (1, 13)],
                Level::Problem,
                "t 0 reach to 21, but its log ends at 20",
            ),
            (&[(2, 5)], Level::Problem, "no such partition"),
        ] {
            let mut report = Report::default();
            let ends: Vec<_> = ends
                .iter()
                .map(|(own, end)| (*own, Offset::from(*end)))
                .collect();
            judge("t", &ends, &log, &mut report);
            let [found] = &report.findings[..] else {
                panic!("{report}")
            };
            assert_eq!(found.level, level, "{report}");
            assert!(found.message.contains(says), "{report}");
        }
    }
}
