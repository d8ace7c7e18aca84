//! A batch: the users that its records name, each with its changes, and the progress in each partition.

use crate::store::fingerprint;
use crate::users::Place;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// Users in one transaction: Redis answers no other client while it executes one, about 5 us per user with its hash.
/// Few in tests, so that batches take several.
pub(crate) const TRANSACTION_USERS: usize = if cfg!(test) { 3 } else { 400 };
/// Users that one transaction loads: the time of a WATCH grows with the square of the keys watched.
const TRANSACTION_LOADS: usize = TRANSACTION_USERS;
/// Bytes of one transaction.
pub(crate) const TRANSACTION_BYTES: usize = 1 << 20;
/// Records that a batch may have, however long the last ones took to write.
const SHORT: usize = 8192;
/// Records in a batch that takes all that has arrived and is written in many transactions: the more records per user,
/// the fewer writes. A larger one would take more memory.
const LONG: usize = 131_072;
/// Bytes of the windows in a batch, as far as known.
const LONG_BYTES: usize = 64 << 20;
/// Time limit for filling a batch, so that decay and polling continue whatever a record costs.
const LONGEST_TAKE: Duration = Duration::from_millis(250);
/// Target time for writing a batch, for the same reason.
const LONGEST_WRITE: Duration = Duration::from_millis(500);
/// Factor of both, and of the users in one transaction, while all windows of the worker are being built: no hash is
/// written meanwhile.
const WARM_UP: u32 = 4;

/// The limits of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// Hashes are written: they wait for the batch.
    Live,
    /// All windows of the worker are being built.
    WarmUp,
}

/// A change of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// An event; its entry begins at this byte of the batch's entries.
    Event(u32),
    /// The erasure of the user's whole state.
    Erasure,
    /// A visit of the sweep.
    Check,
}

/// One change, with its place in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserChange {
    /// The place of the record, or for a copy that of its original.
    pub(crate) place: Place,
    /// The offset of the record itself.
    pub(crate) offset: i64,
    pub(crate) change: Change,
    next: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchUser {
    slot: u32,
    partition: i32,
    /// Indexes of the first and the last of its changes.
    changes: Option<(u32, u32)>,
}

impl BatchUser {
    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    /// The partition that named the user first.
    pub(crate) fn partition(&self) -> i32 {
        self.partition
    }
}

/// Progress of a batch in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The offset after its last record.
    pub(crate) next: i64,
    /// The fingerprint of that record; `None` if the partition has no record.
    pub(crate) last: Option<u64>,
}

/// Records that were read and are to be applied.
#[derive(Debug)]
pub(crate) struct Batch {
    users: Vec<BatchUser>,
    changes: Vec<UserChange>,
    /// The encoded events, one after the other.
    entries: Vec<u8>,
    progress: BTreeMap<i32, Progress>,
    records: usize,
    /// Bytes of the windows in it, as far as known.
    bytes: usize,
    /// The oldest Kafka timestamp in it.
    oldest: Option<i64>,
    span: Span,
    /// Limit of records, learnt from the time that writing the last batches took.
    most: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            users: Vec::new(),
            changes: Vec::new(),
            entries: Vec::new(),
            progress: BTreeMap::new(),
            records: 0,
            bytes: 0,
            oldest: None,
            span: Span::Live,
            most: LONG,
        }
    }
}

impl Batch {
    /// Notes a record, and the progress of its partition.
    pub(crate) fn record(
        &mut self,
        place: Place,
        timestamp: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        self.records += 1;
        self.oldest = self.oldest.into_iter().chain(timestamp).min();
        let progress = Progress {
            next: place.offset + 1,
            last: Some(fingerprint(timestamp, key, value)),
        };
        self.progress.insert(place.partition, progress);
    }

    /// Notes progress without a record: a partition's position is written again.
    pub(crate) fn progressed(&mut self, partition: i32, progress: Progress) {
        self.progress.entry(partition).or_insert(progress);
    }

    /// Adds a user whose window takes `bytes`, and returns its place.
    pub(crate) fn touch(&mut self, slot: u32, partition: i32, bytes: usize) -> u32 {
        self.bytes += bytes;
        self.users.push(BatchUser {
            slot,
            partition,
            changes: None,
        });
        (self.users.len() - 1) as u32
    }

    /// Appends a change, by the record at `offset`, to those of a user.
    pub(crate) fn change(&mut self, user: u32, place: Place, offset: i64, change: Change) {
        let new = self.changes.len() as u32;
        let next = None;
        self.changes.push(UserChange {
            place,
            offset,
            change,
            next,
        });
        let own = &mut self.users[user as usize].changes;
        match own {
            Some((_, last)) => {
                self.changes[*last as usize].next = Some(new);
                *last = new;
            }
            None => *own = Some((new, new)),
        }
    }

    /// The buffer to which new entries are appended.
    pub(crate) fn entries(&mut self) -> &mut Vec<u8> {
        &mut self.entries
    }

    /// The entry at byte `begin`, `bytes` long.
    pub(crate) fn entry(&self, begin: u32, bytes: usize) -> &[u8] {
        let begin = begin as usize;
        &self.entries[begin..begin + bytes]
    }

    /// The changes of a user in the order of the log.
    pub(crate) fn changes(&self, user: &BatchUser) -> impl Iterator<Item = UserChange> {
        let change = |index: u32| self.changes[index as usize];
        let first = user.changes.map(|(first, _)| change(first));
        std::iter::successors(first, move |own| own.next.map(change))
    }

    pub(crate) fn users(&self) -> &[BatchUser] {
        &self.users
    }

    /// Progress in each partition.
    pub(crate) fn progress(&self) -> &BTreeMap<i32, Progress> {
        &self.progress
    }

    /// The number of records, rejected ones included.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// The oldest Kafka timestamp (epoch ms).
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.oldest
    }

    /// True if it should be applied before more is read.
    pub(crate) fn is_full(&self) -> bool {
        self.records >= self.most || self.bytes >= LONG_BYTES
    }

    /// True if more records than have arrived are worth waiting for: the fewer batches, the fewer writes per user, and no
    /// hash waits.
    pub(crate) fn gathers(&self) -> bool {
        self.span == Span::WarmUp && !self.is_empty()
    }

    /// True if there is nothing to apply, not even a position to move.
    pub(crate) fn is_empty(&self) -> bool {
        self.progress.is_empty() && self.users.is_empty()
    }

    /// The users of the transaction that begins with the one at `begin`. `loads` is true for a user that is not in
    /// memory.
    pub(crate) fn transaction(
        &self,
        begin: usize,
        mut loads: impl FnMut(&BatchUser) -> bool,
    ) -> Range<usize> {
        let most = TRANSACTION_USERS * self.patience() as usize;
        let most = self.users.len().min(begin + most);
        let (mut end, mut loaded) = (begin, 0);
        while end < most && loaded < TRANSACTION_LOADS {
            loaded += usize::from(loads(&self.users[end]));
            end += 1;
        }
        begin..end
    }

    /// Adjusts the record limit of the next batches to the time that writing this one took.
    pub(crate) fn written(&mut self, took: Duration) {
        if self.records < SHORT {
            return;
        }
        let wanted = (LONGEST_WRITE * self.patience()).as_secs_f64() / took.as_secs_f64().max(1e-6);
        let most = (self.records as f64 * wanted) as usize;
        self.most = most.clamp(self.most / 2, self.most * 2).clamp(SHORT, LONG);
    }

    /// Time limit for filling the batch.
    pub(crate) fn longest_take(&self) -> Duration {
        LONGEST_TAKE * self.patience()
    }

    /// The factor of the limits.
    fn patience(&self) -> u32 {
        match self.span {
            Span::Live => 1,
            Span::WarmUp => WARM_UP,
        }
    }

    /// Empties the batch for the next use; the learnt limit stays.
    pub(crate) fn clear(&mut self) {
        self.users.clear();
        self.changes.clear();
        self.entries.clear();
        self.progress.clear();
        self.records = 0;
        self.bytes = 0;
        self.oldest = None;
        self.span = Span::Live;
    }

    /// Sets the span, if the batch is empty.
    pub(crate) fn begin(&mut self, span: Span) {
        if self.is_empty() {
            self.span = span;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: i64) -> Place {
        Place {
            partition: 0,
            incarnation: 0,
            offset,
            time: 0,
        }
    }

    fn records(batch: &mut Batch, count: usize) {
        (0..count).for_each(|offset| batch.record(place(offset as i64), None, None, None));
    }

    #[test]
    fn changes_keep_their_order_and_transactions_take_all_users() {
        let mut batch = Batch::default();
        for slot in 0..1000 {
            assert_eq!(batch.touch(slot, 0, 0), slot);
        }
        for number in 0..5000 {
            batch.change(number * 7 % 1000, place(0), 0, Change::Event(number));
        }
        let mut seen = Vec::new();
        for user in batch.users() {
            let own: Vec<u32> = batch
                .changes(user)
                .map(|own| match own.change {
                    Change::Event(number) => number,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert!(own.is_sorted() && own.iter().all(|number| number * 7 % 1000 == user.slot));
            seen.extend(own);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..5000).collect::<Vec<_>>());
        let mut begin = 0;
        while begin < 1000 {
            let end = batch.transaction(begin, |_| true).end;
            assert!(end > begin && end <= begin + TRANSACTION_USERS);
            begin = end;
        }
    }

    #[test]
    fn a_batch_is_bounded_in_records_and_bytes() {
        let mut batch = Batch::default();
        assert!(batch.is_empty() && !batch.is_full());
        records(&mut batch, LONG - 1);
        assert!(!batch.is_full());
        records(&mut batch, 1);
        assert!(batch.is_full());
        batch.clear();
        batch.touch(0, 0, LONG_BYTES);
        assert!(batch.is_full());
    }

    #[test]
    fn the_progress_is_that_of_the_last_record_of_each_partition() {
        let mut batch = Batch::default();
        batch.record(place(3), Some(50), Some(b"k"), None);
        batch.record(place(4), Some(40), Some(b"k"), Some(b"v"));
        assert_eq!((batch.records(), batch.oldest()), (2, Some(40)));
        let last = Some(fingerprint(Some(40), Some(b"k"), Some(b"v")));
        let progress = Progress { next: 5, last };
        assert_eq!(batch.progress(), &BTreeMap::from([(0, progress)]));
    }

    #[test]
    fn slow_writes_make_batches_smaller_and_fast_ones_larger_again() {
        let mut batch = Batch::default();
        let write = |batch: &mut Batch, took: Duration| {
            batch.clear();
            records(batch, batch.most);
            batch.written(took);
            batch.most
        };
        assert_eq!(write(&mut batch, Duration::from_secs(1)), LONG / 2);
        assert_eq!(write(&mut batch, Duration::from_secs(60)), LONG / 4);
        for _ in 0..10 {
            write(&mut batch, Duration::from_secs(60));
        }
        assert_eq!(batch.most, SHORT, "never below what is worth a batch");
        for _ in 0..10 {
            write(&mut batch, Duration::from_millis(1));
        }
        assert_eq!(batch.most, LONG);
    }

    #[test]
    fn batches_may_take_longer_while_no_hash_waits() {
        let took = |span| {
            let mut batch = Batch::default();
            batch.begin(span);
            records(&mut batch, LONG);
            batch.written(Duration::from_secs(2));
            (batch.longest_take(), batch.most)
        };
        assert_eq!(took(Span::Live), (LONGEST_TAKE, LONG / 2));
        assert_eq!(took(Span::WarmUp), (LONGEST_TAKE * 4, LONG));
    }

    #[test]
    fn a_transaction_takes_more_users_while_no_hash_is_written_unless_it_loads_them() {
        let taken = |span, loads: fn(u32) -> bool| {
            let mut batch = Batch::default();
            batch.begin(span);
            for slot in 0..100 {
                batch.touch(slot, 0, 0);
            }
            batch.transaction(0, |user| loads(user.slot())).len()
        };
        assert_eq!(taken(Span::Live, |_| false), TRANSACTION_USERS);
        assert_eq!(taken(Span::WarmUp, |_| false), TRANSACTION_USERS * 4);
        assert_eq!(taken(Span::WarmUp, |_| true), TRANSACTION_LOADS);
        let third = |slot| slot % 3 == 0;
        assert_eq!(taken(Span::WarmUp, third), TRANSACTION_LOADS * 3 - 2);
    }

    #[test]
    fn a_batch_waits_for_more_only_while_windows_are_built() {
        let gathers = |span, count| {
            let mut batch = Batch::default();
            batch.begin(span);
            records(&mut batch, count);
            batch.gathers()
        };
        assert!(gathers(Span::WarmUp, 1) && !gathers(Span::WarmUp, 0));
        assert!(!gathers(Span::Live, 1));
    }

    #[test]
    fn only_an_empty_batch_changes_its_span() {
        let mut batch = Batch::default();
        batch.begin(Span::WarmUp);
        records(&mut batch, 1);
        batch.begin(Span::Live);
        assert_eq!(batch.span, Span::WarmUp);
    }
}
