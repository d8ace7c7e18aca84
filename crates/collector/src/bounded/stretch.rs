//! A bounded run before its first record: which offsets of each partition it reads, and where they end.

use crate::dataset::begin::Begin;
use crate::dataset::offset::Offset;
use crate::dataset::resume;
use crate::dataset::start::{Start, start};
use crate::pipeline::Sink;
use crate::settings::Stretch;
use futures_util::{StreamExt, TryStreamExt, stream};
use tidemill_core::exit::Failure;
use tidemill_core::kafka::{Consumer, Log, LogRange, StoredPosition, numbers};
use tidemill_core::settings::Shared;

/// The partitions whose beginnings are read at a time.
const AT_ONCE: usize = 16;

/// The offsets of one partition that a bounded run reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// The partition.
    pub(crate) partition: i32,
    /// The log, as it was when the run began.
    pub(crate) log: LogRange,
    /// The position at which the data set begins if it has no file of the partition yet.
    pub(crate) begin: Offset,
    /// The position to start from.
    pub(crate) first: Offset,
    /// The position to end at.
    pub(crate) end: Offset,
}

impl Range {
    /// The number of offsets that it covers.
    pub(crate) fn len(&self) -> u64 {
        self.end.since(self.first)
    }

    /// It has offsets, which the log still holds, from before this one.
    fn has_before(&self, begin: Offset) -> bool {
        self.len() > 0 && self.first < begin
    }

    /// The data set begins with the oldest record of a log that had older ones.
    fn begins_cut(&self) -> bool {
        self.log.is_cut() && self.begin == self.log.oldest.into()
    }
}

/// The log of each partition of a topic between two times, whatever the data set holds. What open transactions hold back
/// belongs to it.
pub(crate) fn log_ranges(
    shared: &Shared,
    topic: &str,
    partitions: &[i32],
    stretch: Stretch,
) -> anyhow::Result<Vec<Range>> {
    let consumer = Consumer::outside_uncommitted(&shared.kafka, &shared.group, topic)?;
    let logs = consumer.log_ranges(partitions)?.into_iter();
    let range = |(partition, log): (i32, LogRange)| Range {
        partition,
        log,
        begin: Offset::default(),
        first: log.oldest.into(),
        end: log.end.into(),
    };
    let mut ranges: Vec<Range> = logs.map(range).collect();
    if let Some(from) = stretch.from {
        let positions = consumer.positions_at(partitions, from)?;
        for (range, (_, position)) in ranges.iter_mut().zip(positions) {
            range.first = position.into();
            range.begin = range.first;
        }
    }
    if let Some(to) = stretch.to {
        let positions = consumer.positions_at(partitions, to)?;
        for (range, (_, position)) in ranges.iter_mut().zip(positions) {
            range.end = range.end.min(position.into());
        }
    }
    Ok(ranges)
}

/// The parts of these ranges that are not in the data set yet; ranges that are wholly in it are left out.
///
/// Errors: as [`unread`].
pub(crate) async fn left(
    sink: &Sink,
    ranges: &[Range],
    stretch: Stretch,
) -> anyhow::Result<Vec<Range>> {
    let partitions: Vec<i32> = ranges.iter().map(|range| range.partition).collect();
    refuse_earlier(sink, ranges).await?;
    let files = resume::positions(&sink.data_set, &partitions).await?;
    let mut left = Vec::with_capacity(ranges.len());
    let mut cut = Vec::new();
    for (range, (partition, position)) in ranges.iter().zip(files) {
        let mut range = *range;
        let start = unread(sink, &range, position, stretch)?;
        range.first = start.position;
        if stretch.from.is_some() && position.is_none() && range.begins_cut() {
            cut.push(partition);
        }
        // A gap is recorded even where nothing follows it.
        if range.len() > 0 || start.gap.is_some() {
            left.push(range);
        }
    }
    if !cut.is_empty() {
        tracing::warn!(
            partitions = numbers(&cut),
            "retention has deleted the oldest records of these partitions, some perhaps since --from: the data set \
             begins with those that are left"
        );
    }
    Ok(left)
}

/// Tells of retention where no record is left and, for want of a schema, no gap can be recorded.
pub(crate) fn tell_without_records(ranges: &[Range]) {
    let cut = ranges.iter().filter(|range| range.log.is_cut());
    let cut: Vec<i32> = cut.map(|range| range.partition).collect();
    if !cut.is_empty() {
        tracing::warn!(
            partitions = ?cut,
            "retention has deleted the oldest records of these partitions, and none is left in the stretch: without a \
             schema nothing is written; to record the loss, give --schema"
        );
    }
}

/// Errors: the stretch has records from before the data set begins, which can only be added to at its end.
async fn refuse_earlier(sink: &Sink, ranges: &[Range]) -> anyhow::Result<()> {
    let looks = ranges.iter().map(|range| async move {
        let begin = Begin::find(
            sink.data_set.store(),
            &sink.data_set.topic().name,
            range.partition,
        )
        .await?;
        let begin = begin.filter(|begin| range.has_before(begin.first));
        Ok::<_, anyhow::Error>(begin.map(|begin| (range, begin)))
    });
    let looks = looks.collect::<Vec<_>>();
    let found = stream::iter(looks)
        .buffered(AT_ONCE)
        .try_collect::<Vec<_>>();
    let Some((range, begin)) = found.await?.into_iter().flatten().next() else {
        return Ok(());
    };
    let begun_by = begin.from.map_or("without --from".to_owned(), |from| {
        format!("with --from {from}")
    });
    Err(Failure::usage(format!(
        "{} begins at {} in partition {} ({begun_by}), and this stretch at {}: what lies between would be missing; give \
         the --from that it was begun with, or another --out",
        sink.data_set.store(),
        begin.first,
        range.partition,
        range.first
    )))
}

/// The start of what the data set does not hold, given the end of its files of the partition.
///
/// Errors: the data set ends before the stretch begins, so that a hole would come between; or it is of another log.
fn unread(
    sink: &Sink,
    range: &Range,
    position: Option<StoredPosition<u64>>,
    stretch: Stretch,
) -> anyhow::Result<Start> {
    let partition = range.partition;
    if let (Some(position), Some(_)) = (position, stretch.from)
        && Offset::from(position.next) < range.begin
        // Else retention has deleted what lies between, which is told as a gap.
        && range.begin > range.log.oldest.into()
    {
        return Err(Failure::usage(format!(
            "{} ends at {} in partition {partition}, --from begins at {}: what lies between would be missing; give \
             another --out",
            sink.data_set.store(),
            position.next,
            range.begin
        )));
    }
    let position = position.unwrap_or(range.begin.into());
    let log = Log {
        topic: sink.data_set.topic().id,
        // A data set may reach beyond --to; this run then has nothing to do there.
        range: range.log,
        last: None,
    };
    let found = start(position, log);
    found.map_err(|fit| {
        sink.data_set
            .of_another_log(partition, position.next.into(), fit)
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::dataset::open::Begins;
    use crate::dataset::store::{Location, Store};
    use crate::pipeline;
    use tidemill_core::exit::Code;

    /// The first `end` offsets of a partition.
    pub(crate) fn range(partition: i32, end: i64) -> Range {
        Range {
            partition,
            log: LogRange { oldest: 0, end },
            begin: 0.into(),
            first: 0.into(),
            end: end.into(),
        }
    }

    #[tokio::test]
    async fn what_is_left_depends_on_files_times_and_retention() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Folder(folder.path().into()), true).unwrap();
        let sink = pipeline::tests::sink(store).await;
        let (all, from) = (None, Some(1));
        // The log holds [100, 500); the range is [begin, 400).
        for (files, from, begin, expected) in [
            (None, all, 0, Ok(100)),
            (Some(50), all, 0, Ok(100)),
            (Some(250), all, 0, Ok(250)),
            (Some(450), all, 0, Ok(450)),
            (Some(501), all, 0, Err("the log ends before")),
            (None, from, 200, Ok(200)),
            (None, from, 100, Ok(100)),
            (Some(250), from, 200, Ok(250)),
            (Some(150), from, 200, Err("give another --out")),
            // Retention has deleted the records between; the run records them as a gap.
            (Some(50), from, 100, Ok(100)),
        ] {
            let range = Range {
                partition: 0,
                log: LogRange {
                    oldest: 100,
                    end: 500,
                },
                begin: begin.into(),
                first: begin.max(100).into(),
                end: 400.into(),
            };
            let files = files.map(|next| StoredPosition {
                topic: None,
                next,
                last: None,
            });
            let found = unread(&sink, &range, files, Stretch { from, to: None });
            match (found, expected) {
                (Ok(found), expected) => {
                    assert_eq!(
                        Ok(found.position),
                        expected.map(Offset::from),
                        "{files:?} {begin}"
                    );
                }
                (Err(error), expected) => {
                    assert_eq!(Failure::code(&error), Code::Usage);
                    let told = expected.expect_err("it fails");
                    assert!(error.to_string().contains(told), "{error:#}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_stretch_from_before_the_data_set_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Folder(folder.path().into()), true).unwrap();
        let begins = Begins {
            partitions: None,
            from: Some(1_700_000_000_000),
        };
        let sink = pipeline::tests::sink_of(store, "t".into(), begins).await;
        assert_eq!(
            sink.data_set.begin(0, 500.into(), true).await.unwrap(),
            500.into()
        );
        for (first, end, refused) in [
            (0, 500, true),
            (0, 900, true),
            (499, 500, true),
            (500, 900, false),
            (600, 900, false),
            // Nothing is to be collected.
            (500, 500, false),
        ] {
            let range = Range {
                first: Offset::from(first),
                ..range(0, end)
            };
            match refuse_earlier(&sink, &[range]).await {
                Ok(()) => assert!(!refused, "{first} {end}"),
                Err(error) => {
                    assert!(refused, "{error:#}");
                    assert_eq!(Failure::code(&error), Code::Usage);
                    let told = "begins at 500 in partition 0 (with --from 1700000000000)";
                    assert!(error.to_string().contains(told), "{error:#}");
                }
            }
        }
    }

    #[test]
    fn a_data_set_that_begins_where_retention_has_cut_is_told_from_others() {
        for (oldest, begin, expected) in [(0, 0, false), (100, 100, true), (100, 150, false)] {
            let log = LogRange { oldest, end: 500 };
            let range = Range {
                log,
                begin: Offset::from(begin),
                ..range(0, 500)
            };
            assert_eq!(range.begins_cut(), expected, "{oldest} {begin}");
        }
    }
}
