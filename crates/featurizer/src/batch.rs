//! A batch: the users that were read of, each with its changes, and how far it has got in each partition.

use crate::store::fingerprint;
use crate::users::Place;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// Users in one transaction: Redis answers nobody else while it executes one, which takes about 5 us for each. Few in
/// tests, so that batches take several.
pub(crate) const TRANSACTION_USERS: usize = if cfg!(test) { 3 } else { 400 };
/// Bytes of one transaction, and of the windows in a batch that is written in one, as far as known.
pub(crate) const TRANSACTION_BYTES: usize = 1 << 20;
/// Records in a batch that is written in one transaction.
const SHORT: usize = 8192;
/// Records in a batch that takes all that has arrived, written in many transactions: the more there are of a user, the
/// fewer writes it takes to apply them. More would be more memory, and more to be done again after a crash.
const LONG: usize = 131_072;
/// Bytes of the windows in such a batch, as far as known.
const LONG_BYTES: usize = 64 << 20;
/// The time for which records are taken into a batch, so that decay and polling go on whatever a record costs.
pub(crate) const LONGEST_TAKE: Duration = Duration::from_millis(250);
/// The time that writing a batch should take at most, for the same reason.
const LONGEST_WRITE: Duration = Duration::from_millis(500);

/// How a batch may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// In one transaction.
    One,
    /// In as many as it takes: no user is ahead of its partition.
    Many,
}

/// A change of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// An event; its entry begins here in the batch's entries.
    Event(u32),
    /// Everything known of the user goes.
    Erasure,
    /// The sweep looks at the user.
    Check,
}

/// One change, with its place in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserChange {
    pub(crate) place: Place,
    pub(crate) change: Change,
    next: Option<u32>,
}

/// A user in a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchUser {
    slot: u32,
    partition: i32,
    /// Its place in the order of a batch of many transactions; 0 in others.
    share: u32,
    /// The first and the last of its changes.
    changes: Option<(u32, u32)>,
}

impl BatchUser {
    /// The user's slot.
    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    /// The partition that named the user first.
    pub(crate) fn partition(&self) -> i32 {
        self.partition
    }

    /// The user's share.
    pub(crate) fn share(&self) -> u32 {
        self.share
    }
}

/// How far a batch has got in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The offset after its last record.
    pub(crate) next: i64,
    /// The fingerprint of that record.
    pub(crate) last: u64,
}

/// What was read and is to be applied.
#[derive(Debug)]
pub(crate) struct Batch {
    users: Vec<BatchUser>,
    changes: Vec<UserChange>,
    /// The entries of events, one after the other.
    entries: Vec<u8>,
    progress: BTreeMap<i32, Progress>,
    records: usize,
    /// Bytes of the windows in it, as far as known.
    bytes: usize,
    /// The oldest Kafka timestamp in it.
    oldest: Option<i64>,
    span: Span,
    /// Records that a batch of many transactions may take, by how long the last ones took.
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
            span: Span::One,
            most: LONG,
        }
    }
}

impl Batch {
    /// Notes a record, and that its partition has got so far.
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
            last: fingerprint(timestamp, key, value),
        };
        self.progress.insert(place.partition, progress);
    }

    /// Takes in a user with what its window takes, and returns its place.
    pub(crate) fn touch(&mut self, slot: u32, partition: i32, bytes: usize) -> u32 {
        let (share, changes) = (0, None);
        self.bytes += bytes;
        self.users.push(BatchUser {
            slot,
            partition,
            share,
            changes,
        });
        (self.users.len() - 1) as u32
    }

    /// Appends a change to those of the user at a place.
    pub(crate) fn change(&mut self, user: u32, place: Place, change: Change) {
        let new = self.changes.len() as u32;
        let next = None;
        self.changes.push(UserChange {
            place,
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

    /// The bytes that new entries are appended to.
    pub(crate) fn entries(&mut self) -> &mut Vec<u8> {
        &mut self.entries
    }

    /// The entry that begins at a place, and is this long.
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

    /// The users.
    pub(crate) fn users(&self) -> &[BatchUser] {
        &self.users
    }

    /// How far it has got in each partition.
    pub(crate) fn progress(&self) -> &BTreeMap<i32, Progress> {
        &self.progress
    }

    /// The number of records, the rejected among them.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// The oldest Kafka timestamp.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.oldest
    }

    /// How it may be written.
    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// Tells if it should be applied before more is read.
    pub(crate) fn is_full(&self) -> bool {
        match self.span {
            Span::Many => self.records >= self.most || self.bytes >= LONG_BYTES,
            Span::One => {
                self.users.len() >= TRANSACTION_USERS
                    || self.records >= SHORT
                    || self.bytes >= TRANSACTION_BYTES
            }
        }
    }

    /// Tells if there is nothing to apply, not even a position to be moved.
    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0 && self.users.is_empty()
    }

    /// Puts the users in the order of their shares.
    pub(crate) fn sort(&mut self, mut share: impl FnMut(u32) -> u32) {
        for user in &mut self.users {
            user.share = share(user.slot);
        }
        self.users.sort_unstable_by_key(|user| user.share);
    }

    /// The users of the transaction that begins with the one at `begin`: users of one share go together.
    pub(crate) fn transaction(&self, begin: usize) -> Range<usize> {
        let mut end = self.users.len().min(begin + TRANSACTION_USERS);
        let share = |index: usize| self.users.get(index).map(|user| user.share);
        while end > begin && end < self.users.len() && share(end - 1) == share(end) {
            end += 1;
        }
        begin..end
    }

    /// Learns from how long the batch took to be written how many records the next ones may take.
    pub(crate) fn written(&mut self, took: Duration) {
        if self.span == Span::One || self.records < SHORT {
            return;
        }
        let wanted = LONGEST_WRITE.as_secs_f64() / took.as_secs_f64().max(1e-6);
        let most = (self.records as f64 * wanted) as usize;
        self.most = most.clamp(self.most / 2, self.most * 2).clamp(SHORT, LONG);
    }

    /// Makes room for the next.
    pub(crate) fn clear(&mut self) {
        self.users.clear();
        self.changes.clear();
        self.entries.clear();
        self.progress.clear();
        self.records = 0;
        self.bytes = 0;
        self.oldest = None;
        self.span = Span::One;
    }

    /// Lets an empty batch be written in this way.
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
    fn changes_keep_their_order_and_transactions_their_shares() {
        let mut batch = Batch::default();
        for slot in 0..1000 {
            assert_eq!(batch.touch(slot, 0, 0), slot);
        }
        for number in 0..5000 {
            batch.change(number * 7 % 1000, place(0), Change::Event(number));
        }
        batch.sort(|slot| slot * 31 % 97);
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
            let end = batch.transaction(begin).end;
            assert!(end > begin && end <= begin + TRANSACTION_USERS + 11);
            assert!(end == 1000 || batch.users[end - 1].share < batch.users[end].share);
            begin = end;
        }
    }

    #[test]
    fn a_batch_of_one_transaction_is_bounded_in_users_records_and_bytes() {
        let mut batch = Batch::default();
        assert!(batch.is_empty() && !batch.is_full());
        for slot in 0..TRANSACTION_USERS as u32 {
            batch.touch(slot, 0, 0);
        }
        assert!(batch.is_full());
        batch.clear();
        records(&mut batch, SHORT);
        assert!(batch.is_full());
        batch.clear();
        batch.touch(0, 0, TRANSACTION_BYTES);
        assert!(batch.is_full());
        batch.clear();
        batch.begin(Span::Many);
        records(&mut batch, SHORT);
        assert!(!batch.is_full());
    }

    #[test]
    fn the_progress_is_that_of_the_last_record_of_each_partition() {
        let mut batch = Batch::default();
        batch.record(place(3), Some(50), Some(b"k"), None);
        batch.record(place(4), Some(40), Some(b"k"), Some(b"v"));
        assert_eq!((batch.records(), batch.oldest()), (2, Some(40)));
        let last = fingerprint(Some(40), Some(b"k"), Some(b"v"));
        let progress = Progress { next: 5, last };
        assert_eq!(batch.progress(), &BTreeMap::from([(0, progress)]));
    }

    #[test]
    fn slow_writes_make_batches_smaller_and_fast_ones_larger_again() {
        let mut batch = Batch::default();
        let write = |batch: &mut Batch, took: Duration| {
            batch.clear();
            batch.begin(Span::Many);
            records(batch, batch.most);
            batch.written(took);
            batch.most
        };
        assert_eq!(write(&mut batch, Duration::from_secs(1)), LONG / 2);
        assert_eq!(write(&mut batch, Duration::from_secs(60)), LONG / 4);
        for _ in 0..10 {
            write(&mut batch, Duration::from_secs(60));
        }
        assert_eq!(batch.most, SHORT, "never below what one transaction takes");
        for _ in 0..10 {
            write(&mut batch, Duration::from_millis(1));
        }
        assert_eq!(batch.most, LONG);
    }

    #[test]
    fn only_an_empty_batch_changes_its_span() {
        let mut batch = Batch::default();
        batch.begin(Span::Many);
        assert_eq!(batch.span(), Span::Many);
        records(&mut batch, 1);
        batch.begin(Span::One);
        assert_eq!(batch.span(), Span::Many);
    }
}
