//! The stretch of the predictions' topic that is scored again: what lies in it, and where it is read on.

use std::collections::BTreeMap;

use anyhow::bail;
use tidemill_core::exit::Failure;
use tidemill_core::kafka::{Consumer, Log, LogFit, StoredPosition};

/// What is left to be read, by partition.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    left: BTreeMap<i32, Span>,
    /// It begins behind the newest record of every partition.
    pub(super) beyond: bool,
    /// Offsets that retention deleted before they were read.
    pub(super) lost: i64,
}

/// The offsets from `next` up to, and without, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    next: i64,
    end: i64,
}

impl Stretch {
    /// Looks up the time from `from` up to `to`, in epoch milliseconds.
    ///
    /// # Errors
    ///
    /// The brokers do not tell.
    pub(super) fn find(
        consumer: &Consumer,
        partitions: usize,
        from: i64,
        to: i64,
    ) -> anyhow::Result<Self> {
        let partitions: Vec<i32> = (0..partitions as i32).collect();
        let first = consumer.positions_at(&partitions, from)?;
        let last = consumer.positions_at(&partitions, to)?;
        let mut beyond = true;
        for (partition, next) in &first {
            beyond &= *next >= consumer.log_range(*partition)?.1;
        }
        let spans = first.into_iter().zip(last);
        let spans = spans.map(|((partition, next), (_, end))| (partition, next, end));
        Ok(Stretch {
            beyond,
            ..Self::new(spans)
        })
    }

    fn new(spans: impl Iterator<Item = (i32, i64, i64)>) -> Self {
        let some = spans.filter(|(_, next, end)| next < end);
        Stretch {
            left: some
                .map(|(partition, next, end)| (partition, Span { next, end }))
                .collect(),
            beyond: false,
            lost: 0,
        }
    }

    /// The partitions with the offsets to read first.
    pub(super) fn starts(&self) -> Vec<(i32, i64)> {
        let spans = self.left.iter();
        spans
            .map(|(partition, span)| (*partition, span.next))
            .collect()
    }

    /// There is nothing left.
    pub(super) fn is_read(&self) -> bool {
        self.left.is_empty()
    }

    /// Passes a record; true if it belongs to the stretch.
    pub(super) fn take(&mut self, partition: i32, offset: i64) -> bool {
        let Some(span) = self.left.get_mut(&partition) else {
            return false;
        };
        let belongs = (span.next..span.end).contains(&offset);
        span.next = span.next.max(offset + 1);
        if span.next >= span.end {
            self.left.remove(&partition);
        }
        belongs
    }

    /// The log of a partition has been read to its end. The ends of transactions take offsets there, where no record
    /// comes.
    pub(super) fn ended(&mut self, partition: i32) {
        self.left.remove(&partition);
    }

    /// Goes on after a position was outside of its log.
    ///
    /// # Errors
    ///
    /// The log is another one, or the brokers do not answer.
    pub(super) fn go_on(&mut self, consumer: &Consumer) -> anyhow::Result<()> {
        for (partition, _) in self.starts() {
            let next = self.fit(partition, consumer.log_range(partition)?)?;
            if let Some(next) = next {
                consumer.seek(partition, next)?;
            }
        }
        Ok(())
    }

    /// The next offset to be read of a partition whose log reaches from `oldest` to `end`; `None` if nothing is left.
    fn fit(&mut self, partition: i32, (oldest, end): (i64, i64)) -> anyhow::Result<Option<i64>> {
        let Some(span) = self.left.get_mut(&partition) else {
            return Ok(None);
        };
        let position = StoredPosition::<u64> {
            topic: None,
            next: span.next,
            last: None,
        };
        let log = Log {
            topic: None,
            oldest,
            end,
            last: None,
        };
        match position.fit(&log) {
            LogFit::Same => {}
            LogFit::Behind(_) => {
                let kept = oldest.min(span.end);
                self.lost += kept - span.next;
                span.next = kept;
            }
            changed => bail!(Failure::usage(format!(
                "partition {partition} of the predictions: {changed}, while it was read; run it again"
            ))),
        }
        let next = (span.next < span.end).then_some(span.next);
        if next.is_none() {
            self.left.remove(&partition);
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch() -> Stretch {
        Stretch::new([(0, 5, 9), (1, 7, 7), (2, 0, 3)].into_iter())
    }

    #[test]
    fn records_belong_to_it_until_each_partition_is_read() {
        let mut stretch = stretch();
        assert_eq!(stretch.starts(), [(0, 5), (2, 0)]);
        assert!(!stretch.take(1, 7) && !stretch.take(0, 4));
        assert!(stretch.take(0, 5) && stretch.take(0, 7));
        assert!(!stretch.take(0, 7), "a record is taken once");
        assert!(!stretch.take(0, 9), "behind a marker");
        assert_eq!(stretch.starts(), [(2, 0)]);
        stretch.ended(2);
        assert!(stretch.is_read());
    }

    #[test]
    fn what_retention_deletes_meanwhile_is_passed_and_counted() {
        let mut stretch = stretch();
        assert!(stretch.take(0, 5));
        assert_eq!(stretch.fit(0, (0, 20)).unwrap(), Some(6));
        assert_eq!(stretch.fit(0, (8, 20)).unwrap(), Some(8));
        assert_eq!((stretch.lost, stretch.starts()), (2, vec![(0, 8), (2, 0)]));
        assert_eq!(stretch.fit(2, (30, 40)).unwrap(), None);
        assert_eq!((stretch.lost, stretch.starts()), (5, vec![(0, 8)]));
        let error = stretch.fit(0, (0, 4)).unwrap_err();
        assert!(error.to_string().contains("cut"), "{error}");
    }
}
