//! Decides where a partition goes on, from its position and its log as it is now.

use crate::dataset::offset::Offset;
use std::ops::Range;
use tidemill_core::exit::Failure;
use tidemill_core::kafka::{Log, LogFit, StoredPosition};

/// The start of reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// The next offset to be read.
    pub(crate) position: Offset,
    /// The offsets before it that retention has deleted.
    pub(crate) gap: Option<Range<Offset>>,
    /// The fingerprint of the record before it, where the log still has that: it is read too, to be compared.
    pub(crate) last: Option<u64>,
}

impl Start {
    /// The offset at which the consumer begins.
    pub(crate) fn read_from(&self) -> Offset {
        match self.last {
            Some(_) => self.position.previous(),
            None => self.position,
        }
    }
}

/// Decides where a partition goes on: at its position, or at the log's oldest record where retention has passed that.
///
/// Errors: the log is not the one that the position was in. A data set that went on there would hold records of two
/// logs.
pub(crate) fn start(position: StoredPosition<u64>, log: Log<u64>) -> Result<Start, LogFit> {
    let StoredPosition { next, .. } = position;
    match position.fit(&log) {
        LogFit::Same => Ok(Start {
            position: next.into(),
            gap: None,
            last: position.last.filter(|_| next > log.range.oldest),
        }),
        LogFit::Behind(_) => Ok(Start {
            position: log.range.oldest.into(),
            gap: Some(next.into()..log.range.oldest.into()),
            last: None,
        }),
        other => Err(other),
    }
}

/// The end of a run whose data set is of another log.
pub(crate) fn another_log(topic: &str, partition: i32, next: Offset, fit: LogFit) -> anyhow::Error {
    Failure::usage(remedy(&format!(
        "{topic} {partition} was collected up to offset {next}, but {fit}"
    )))
}

/// The remedy when the topic is no longer the one that a data set is of.
pub(crate) fn remedy(found: &str) -> String {
    format!("{found}; what is in --out is of the log before: give another --out")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_core::kafka::LogRange;

    #[test]
    fn a_partition_goes_on_in_its_own_log_alone() {
        let ids = ["AAAAAAAAAAAAAAAAAAAAAQ", "AAAAAAAAAAAAAAAAAAAAAg"];
        let [own, other] = ids.map(|id| id.parse().ok());
        let at = |position: i64, gap: Option<Range<i64>>, last| {
            Ok(Start {
                position: position.into(),
                gap: gap.map(|gap| gap.start.into()..gap.end.into()),
                last,
            })
        };
        for (next, topic, (oldest, end), expected) in [
            (10, own, (0, 20), at(10, None, Some(7))),
            (10, own, (0, 10), at(10, None, Some(7))),
            (10, None, (0, 20), at(10, None, Some(7))),
            (10, own, (10, 20), at(10, None, None)),
            (10, own, (15, 20), at(15, Some(10..15), None)),
            (10, own, (15, 15), at(15, Some(10..15), None)),
            (10, own, (0, 9), Err(LogFit::Ahead)),
            // 100 records collected, 120 in the topic that was made anew.
            (100, other, (0, 120), Err(LogFit::OtherTopic)),
            (0, other, (0, 120), Err(LogFit::OtherTopic)),
        ] {
            let stored = StoredPosition {
                topic: own,
                next,
                last: Some(7),
            };
            let log = Log {
                topic,
                range: LogRange { oldest, end },
                last: None,
            };
            assert_eq!(start(stored, log), expected, "{stored:?} {log:?}");
        }
        for (last, expected) in [(Some(7), 9), (None, 10)] {
            let position = 10.into();
            let start = Start {
                position,
                gap: None,
                last,
            };
            assert_eq!(start.read_from(), Offset::from(expected));
        }
    }
}
