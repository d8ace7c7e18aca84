//! What was read and is to be applied in one step.

use std::collections::BTreeMap;

/// Users in one step: Redis answers nobody else while it executes one, which takes about 5 us for each.
pub(crate) const STEP_USERS: usize = 400;
/// Records in one step.
const STEP_RECORDS: usize = 8192;
/// Bytes that a step's windows may have grown to, as far as they are known beforehand.
const STEP_BYTES: usize = 1 << 20;

/// What is to happen with a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// An event; its entry begins here.
    Event(usize),
    /// Everything known of the user goes.
    Erasure,
}

/// One change, in the order of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    /// The user's slot in the cache.
    pub(crate) slot: u32,
    /// The record's partition.
    pub(crate) partition: i32,
    /// The change.
    pub(crate) change: Change,
}

/// How far a batch has got in a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached {
    /// The offset after its last record.
    pub(crate) next: i64,
    /// That record's fingerprint.
    pub(crate) last: u64,
    /// That record's Kafka timestamp.
    pub(crate) timestamp: Option<i64>,
}

/// See the file's first sentence.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Changes in the order of the log.
    pub(crate) pending: Vec<Pending>,
    /// The entries of events, one after the other.
    pub(crate) entries: Vec<u8>,
    /// The slots of all users in it, each once, with the partition that named it first.
    pub(crate) touched: Vec<(u32, i32)>,
    /// Among them, users to be checked after a rebuild of the partition.
    pub(crate) stale: Vec<(u32, i32)>,
    /// How far it has got.
    pub(crate) reached: BTreeMap<i32, Reached>,
    /// Records in it, the rejected among them.
    pub(crate) records: usize,
    /// Rejected records, whose dead letters must be acknowledged before the step.
    pub(crate) rejected: usize,
    /// Bytes of the windows in it, as far as known.
    pub(crate) bytes: usize,
    /// The oldest Kafka timestamp in it.
    pub(crate) oldest: Option<i64>,
}

impl Batch {
    /// Notes a record and how far its partition has got with it.
    pub(crate) fn record(&mut self, partition: i32, reached: Reached) {
        self.records += 1;
        self.oldest = self.oldest.into_iter().chain(reached.timestamp).min();
        self.reached.insert(partition, reached);
    }

    /// Whether it should be applied before more is read.
    pub(crate) fn full(&self) -> bool {
        self.touched.len() >= STEP_USERS || self.records >= STEP_RECORDS || self.bytes >= STEP_BYTES
    }

    /// Whether there is nothing to apply, not even a position to be moved.
    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0 && self.touched.is_empty()
    }

    /// Makes room for the next.
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
        self.entries.clear();
        self.touched.clear();
        self.stale.clear();
        self.reached.clear();
        self.records = 0;
        self.rejected = 0;
        self.bytes = 0;
        self.oldest = None;
    }
}
