//! One open partition of a worker: its records since the last file, and what is on its way.

use crate::dataset::offset::Offset;
use crate::dataset::start::Start;
use crate::pipeline::Lane;
use crate::pipeline::batch::Batch;
use crate::worker::memory::Buffer;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};
use tidemill_core::kafka::{LogFit, Record, fingerprint};

/// A partition that is open.
pub(super) struct Partition {
    /// Its records since the last file.
    batch: Batch,
    /// The fingerprint of the record before those.
    last: Option<u64>,
    /// Time at which its first record came.
    since: Option<Instant>,
    /// Their way into the data set.
    lane: Lane,
    /// Memory of each batch on its way.
    under_way: VecDeque<usize>,
}

/// The outcome of giving a record to its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was there before.
    Before,
    /// It takes so many bytes of memory; its file goes on.
    Into(usize),
    /// The same, and its file is full and on its way.
    Full(usize),
}

impl Partition {
    /// Nothing of it was read.
    pub(super) fn new(lane: Lane, start: Start) -> Self {
        let mut new = Self {
            batch: Batch::at(start.position),
            last: start.last,
            since: None,
            lane,
            under_way: VecDeque::new(),
        };
        new.record(start.gap);
        new
    }

    /// Takes a record, unless it was taken before; files have `rows` records.
    ///
    /// Errors: the record shows that the log is another one.
    pub(super) fn take(
        &mut self,
        record: &Record<'_>,
        headers: bool,
        rows: usize,
    ) -> Result<Taken, LogFit> {
        let headers = headers.then(|| record.headers()).into_iter().flatten();
        let (offset, timestamp) = (Offset::from(record.offset()), record.timestamp());
        let (key, value) = (record.key(), record.value());
        let before = self.batch.footprint();
        if !self.batch.push(offset, timestamp, key, value, headers) {
            self.compare(offset, || fingerprint(timestamp, key, value))?;
            return Ok(Taken::Before);
        }
        self.since.get_or_insert_with(Instant::now);
        let grown = self.batch.footprint() - before;
        if !self.batch.is_full(rows) {
            return Ok(Taken::Into(grown));
        }
        self.send();
        Ok(Taken::Full(grown))
    }

    /// The position after the last record that was taken.
    pub(super) fn next(&self) -> Offset {
        self.batch.next()
    }

    /// The first record since the last file came this long ago, or longer.
    pub(super) fn is_aged(&self, age: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= age)
    }

    /// Memory of the records since the last file, and what their file is likely to take yet.
    pub(super) fn buffer(&self, partition: i32, rows: usize) -> Buffer {
        Buffer {
            partition,
            bytes: self.batch.footprint(),
            left: self.batch.left(rows),
        }
    }

    /// Memory of what is on its way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.iter().sum()
    }

    /// There are no records since the last file.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Nothing is on its way.
    pub(super) fn is_settled(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The number of its lane.
    pub(super) fn lane(&self) -> u64 {
        self.lane.number()
    }

    /// The oldest batch on its way has arrived.
    pub(super) fn arrived(&mut self) {
        self.under_way.pop_front();
    }

    /// Ends its lane at once.
    pub(super) fn abort(&self) {
        self.lane.abort();
    }

    /// The fingerprint of the record before the position, where it is known.
    pub(super) fn last(&self) -> Option<u64> {
        self.batch.last().or(self.last)
    }

    /// Looks at a record that lies before the batch: the one right before it has to be the one that was there.
    ///
    /// Errors: it is another one.
    fn compare(&self, offset: Offset, found: impl FnOnce() -> u64) -> Result<(), LogFit> {
        let is_right_before = offset.next() == self.batch.next();
        match self.last() {
            Some(last) if is_right_before && found() != last => Err(LogFit::OtherRecords),
            _ => Ok(()),
        }
    }

    /// Goes on after the consumer has stopped. Offsets before the log's oldest record are recorded as a gap.
    pub(super) fn go_on(&mut self, start: Start) {
        if start.position == self.batch.next() {
            return;
        }
        self.send();
        self.batch = Batch::at(start.position);
        self.last = None;
        self.record(start.gap);
    }

    /// Gives a gap on its way at once: nobody knows if another record ever follows it.
    fn record(&mut self, gap: Option<Range<Offset>>) {
        if let Some(gap) = gap {
            self.give(Batch::gap(gap));
        }
    }

    /// Ends the file here, if there is anything in it, and gives it on its way.
    pub(super) fn send(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let following = Batch::at(self.batch.next());
        self.last = self.batch.last();
        let full = std::mem::replace(&mut self.batch, following);
        self.since = None;
        self.give(full);
    }

    fn give(&mut self, batch: Batch) {
        self.under_way.push_back(batch.footprint());
        self.lane.give(batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::store::{Location, Store};
    use crate::pipeline::{self, What};
    use std::sync::mpsc::channel;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_record_before_the_position_has_to_be_the_one_that_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Folder(folder.path().into()), true).unwrap();
        let sink = pipeline::tests::sink(store).await;
        let (outcomes, told) = channel();
        let at = |position: i64, gap: Option<Range<Offset>>, last| Start {
            position: position.into(),
            gap,
            last,
        };
        let lane = Lane::open(&sink, 0, 1, outcomes);
        let mut own = Partition::new(lane, at(10, None, Some(7)));
        assert_eq!(own.compare(9.into(), || 7), Ok(()));
        assert_eq!(own.compare(9.into(), || 8), Err(LogFit::OtherRecords));
        assert_eq!(
            own.compare(8.into(), || 8),
            Ok(()),
            "not the one right before"
        );

        assert!(
            own.batch
                .push(10.into(), Some(5), None, Some(b"{}"), std::iter::empty())
        );
        let last = fingerprint(Some(5), None, Some(b"{}"));
        assert_eq!(own.last(), Some(last));
        own.send();
        assert_eq!(own.last(), Some(last), "its file is on its way");
        assert_eq!(own.compare(10.into(), || last), Ok(()));
        assert_eq!(own.compare(10.into(), || 8), Err(LogFit::OtherRecords));

        own.go_on(at(11, None, Some(last)));
        assert_eq!((own.next(), own.under_way.len()), (11.into(), 1));
        own.go_on(at(20, Some(11.into()..20.into()), None));
        assert_eq!((own.next(), own.under_way.len()), (20.into(), 2));
        assert_eq!(own.compare(19.into(), || 8), Ok(()), "retention took it");
        // Without any record after it.
        let next = || match told.recv_timeout(Duration::from_secs(30)).unwrap().what {
            What::Published(file) => (file.first, file.next, file.gap),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            [next(), next()],
            [(10.into(), 11.into(), false), (11.into(), 20.into(), true)]
        );
    }
}
