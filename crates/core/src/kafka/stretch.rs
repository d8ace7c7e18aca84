//! A stretch of a topic that a command reads outside of a group: its records, and the offset at which reading
//! continues.

use super::{Consumer, Log, LogFit, LogRange, Polled, Record, StoredPosition, in_words};
use crate::exit::Failure;
use crate::progress::bar;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Pause between two looks at the progress.
const DRAWN: Duration = Duration::from_millis(100);

/// The offsets left to read, by partition.
#[derive(Debug, Default)]
pub struct Stretch {
    left: BTreeMap<i32, Span>,
    lost: i64,
}

/// The offsets from `next` up to, but excluding, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    next: i64,
    end: i64,
}

impl Stretch {
    /// A stretch from each partition's first offset up to, but excluding, the second.
    pub fn new(spans: impl IntoIterator<Item = (i32, i64, i64)>) -> Self {
        let spans = spans.into_iter();
        let some = spans.filter(|(_, next, end)| next < end);
        Stretch {
            left: some
                .map(|(partition, next, end)| (partition, Span { next, end }))
                .collect(),
            lost: 0,
        }
    }

    /// Passes every record of the stretch to `each`, in the order of each partition's log, until all are read or
    /// `shutdown` is cancelled.
    ///
    /// # Errors
    ///
    /// `each` fails, a log is another one than at the start, or the client cannot go on.
    pub fn read(
        &mut self,
        consumer: &Consumer,
        shutdown: &CancellationToken,
        mut each: impl FnMut(&Record<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        consumer.start(&self.starts())?;
        let total = self.offsets();
        let bar = bar(total, "reading");
        let mut drawn = Instant::now();
        while !self.is_read() && !shutdown.is_cancelled() {
            if drawn.elapsed() >= DRAWN {
                drawn = Instant::now();
                bar.set_position(total - self.offsets());
            }
            match consumer.poll(Duration::from_millis(100))? {
                Polled::Record(record) if self.take(record.partition(), record.offset()) => {
                    each(&record)?;
                }
                Polled::End(partition) => self.ended(partition),
                Polled::OutOfRange => self.go_on(consumer)?,
                _ => {}
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// The number of offsets that are left.
    fn offsets(&self) -> u64 {
        let left = self.left.values();
        left.map(|span| span.end.abs_diff(span.next)).sum()
    }

    /// The number of offsets that retention deleted before they were read.
    pub fn lost(&self) -> i64 {
        self.lost
    }

    /// The partitions with the first offset to read.
    fn starts(&self) -> Vec<(i32, i64)> {
        let spans = self.left.iter();
        spans
            .map(|(partition, span)| (*partition, span.next))
            .collect()
    }

    /// True if nothing is left to read.
    pub fn is_read(&self) -> bool {
        self.left.is_empty()
    }

    /// Passes a record; true if it belongs to the stretch.
    fn take(&mut self, partition: i32, offset: i64) -> bool {
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

    /// Notes that the log of a partition has been read to its end. Transaction markers take offsets there without a
    /// record.
    fn ended(&mut self, partition: i32) {
        self.left.remove(&partition);
    }

    /// Continues after a position outside of its log.
    fn go_on(&mut self, consumer: &Consumer) -> anyhow::Result<()> {
        for (partition, _) in self.starts() {
            let range = match consumer.log_range(partition) {
                Ok(range) => range,
                Err(error) => {
                    // The client reports it again, once the brokers answer.
                    tracing::warn!("{}", in_words(&error));
                    return Ok(());
                }
            };
            if let Some(next) = self.fit(consumer.topic(), partition, range)? {
                consumer.seek(partition, next)?;
            }
        }
        Ok(())
    }

    /// The next offset to read of a partition whose log reaches from `oldest` to `end`; `None` if nothing is left.
    fn fit(&mut self, topic: &str, partition: i32, range: LogRange) -> anyhow::Result<Option<i64>> {
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
            range,
            last: None,
        };
        match position.fit(&log) {
            LogFit::Same => {}
            LogFit::Behind(_) => {
                let kept = range.oldest.min(span.end);
                self.lost += kept - span.next;
                span.next = kept;
            }
            changed => {
                return Err(Failure::usage(format!(
                    "topic {topic}, partition {partition}: {changed}, while it was read; run it again"
                )));
            }
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
        Stretch::new([(0, 5, 9), (1, 7, 7), (2, 0, 3)])
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
        let log = |oldest, end| LogRange { oldest, end };
        assert_eq!(stretch.fit("t", 0, log(0, 20)).unwrap(), Some(6));
        assert_eq!(stretch.fit("t", 0, log(8, 20)).unwrap(), Some(8));
        assert_eq!(
            (stretch.lost(), stretch.starts()),
            (2, vec![(0, 8), (2, 0)])
        );
        assert_eq!(stretch.fit("t", 2, log(30, 40)).unwrap(), None);
        assert_eq!((stretch.lost(), stretch.starts()), (5, vec![(0, 8)]));
        let error = stretch.fit("t", 0, log(0, 4)).unwrap_err();
        assert!(error.to_string().contains("cut"), "{error}");
    }
}
