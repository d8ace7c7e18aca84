//! A bounded run before its first record: which offsets of each partition it reads, and where they end.

use crate::dataset::resume;
use crate::lane::Sink;
use crate::settings::Stretch;
use tidemill_core::exit::Failure;
use tidemill_core::kafka::Consumer;

/// The offsets of one partition that a bounded run reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// The partition.
    pub(crate) partition: i32,
    /// The position to start from.
    pub(crate) first: i64,
    /// The position to end at; the log as it was when the run began.
    pub(crate) end: i64,
    /// What retention had deleted before `first`.
    pub(crate) gap: Option<(i64, i64)>,
}

impl Range {
    /// How many offsets it covers.
    pub(crate) fn len(&self) -> u64 {
        self.end.saturating_sub(self.first).max(0) as u64
    }
}

/// The log of each partition between two times, whatever the data set holds.
pub(crate) fn log_ranges(
    consumer: &Consumer,
    partitions: &[i32],
    stretch: Stretch,
) -> anyhow::Result<Vec<Range>> {
    let mut ranges = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let (first, end) = consumer.log_range(*partition)?;
        ranges.push(Range {
            partition: *partition,
            first,
            end,
            gap: None,
        });
    }
    if let Some(from) = stretch.from {
        for (range, (_, position)) in ranges
            .iter_mut()
            .zip(consumer.positions_at(partitions, from)?)
        {
            range.first = position;
        }
    }
    if let Some(to) = stretch.to {
        for (range, (_, position)) in ranges
            .iter_mut()
            .zip(consumer.positions_at(partitions, to)?)
        {
            range.end = position.min(range.end);
        }
    }
    Ok(ranges)
}

/// What of these ranges is not in the data set yet.
///
/// Errors: the data set ends before the stretch begins, so that a hole would come between.
pub(crate) async fn left(
    sink: &Sink,
    ranges: Vec<Range>,
    stretch: Stretch,
) -> anyhow::Result<Vec<Range>> {
    let partitions: Vec<i32> = ranges.iter().map(|range| range.partition).collect();
    let ends = resume::positions(sink, &partitions).await?;
    let mut left = Vec::with_capacity(ranges.len());
    for (range, (partition, position)) in ranges.into_iter().zip(ends) {
        let Range { first, end, .. } = range;
        let (first, gap) = match (position, stretch.from) {
            (None, Some(_)) => (first, None),
            (Some(position), Some(_)) if position < first => {
                return Err(Failure::usage(format!(
                    "{} ends at {position} in partition {partition}, --from begins at {first}: what lies between \
                     would be missing; give another --out",
                    sink.store
                )));
            }
            (Some(position), Some(_)) => (position, None),
            (position, None) => {
                let position = position.unwrap_or(0);
                // A data set may reach beyond --to, but not beyond the log; this run then has nothing to do there.
                let log_end = end.max(position);
                let start = resume::start(sink, partition, position, first, log_end)?;
                (start, (position < start).then_some((position, start)))
            }
        };
        left.push(Range {
            partition,
            first,
            end,
            gap,
        });
    }
    Ok(left)
}
