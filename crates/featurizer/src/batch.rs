//! What was read and is to be applied: users, each with its changes.

use std::collections::BTreeMap;

/// Users in one step: Redis answers nobody else while it executes one, which takes about 5 us for each.
pub(crate) const STEP_USERS: usize = 400;
/// Bytes of one step, and of the windows in a batch that is written in one, as far as known.
pub(crate) const STEP_BYTES: usize = 1 << 20;
/// Records in a batch that is written in one step.
const SHORT: usize = 8192;
/// Records in a batch that takes all that has arrived, written in many steps: the more there are of a user, the fewer
/// writes it takes to apply them. More would be more memory, and more to be done again after a crash.
const LONG: usize = 131_072;
/// Bytes of the windows in such a batch, as far as known.
const LONG_BYTES: usize = 64 << 20;

/// What is to happen with a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// An event; its entry begins here.
    Event(u32),
    /// Everything known of the user goes.
    Erasure,
    /// After a rebuild, what the log says nothing of goes.
    Check,
}

/// One change of a user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    /// The partition it is from.
    pub(crate) partition: i32,
    /// The change.
    pub(crate) change: Change,
    next: Option<u32>,
}

/// A user in a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touched {
    /// Its slot in the cache.
    pub(crate) slot: u32,
    /// The partition that named it first.
    pub(crate) partition: i32,
    /// Its place in the order of a long batch; 0 in others.
    pub(crate) share: u32,
    /// The first and the last of its changes.
    changes: Option<(u32, u32)>,
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
    /// All users in it, each once.
    pub(crate) touched: Vec<Touched>,
    /// The entries of events, one after the other.
    pub(crate) entries: Vec<u8>,
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
    pending: Vec<Pending>,
}

impl Batch {
    /// Notes a record and how far its partition has got with it.
    pub(crate) fn record(&mut self, partition: i32, reached: Reached) {
        self.records += 1;
        self.oldest = self.oldest.into_iter().chain(reached.timestamp).min();
        self.reached.insert(partition, reached);
    }

    /// Takes in a user, and returns its place.
    pub(crate) fn touch(&mut self, slot: u32, partition: i32) -> u32 {
        let (share, changes) = (0, None);
        self.touched.push(Touched {
            slot,
            partition,
            share,
            changes,
        });
        (self.touched.len() - 1) as u32
    }

    /// Appends a change to those of the user at a place.
    pub(crate) fn change(&mut self, user: u32, partition: i32, change: Change) {
        let new = self.pending.len() as u32;
        let next = None;
        self.pending.push(Pending {
            partition,
            change,
            next,
        });
        let changes = &mut self.touched[user as usize].changes;
        match changes {
            Some((_, last)) => {
                self.pending[*last as usize].next = Some(new);
                *last = new;
            }
            None => *changes = Some((new, new)),
        }
    }

    /// The changes of a user in the order of the log.
    pub(crate) fn changes(&self, user: &Touched) -> impl Iterator<Item = Pending> {
        let pending = |index: u32| self.pending[index as usize];
        let first = user.changes.map(|(first, _)| pending(first));
        std::iter::successors(first, move |own| own.next.map(pending))
    }

    /// Whether it should be applied before more is read; `long` when it may be written in several steps.
    pub(crate) fn full(&self, long: bool) -> bool {
        if long {
            self.records >= LONG || self.bytes >= LONG_BYTES
        } else {
            self.touched.len() >= STEP_USERS || self.records >= SHORT || self.bytes >= STEP_BYTES
        }
    }

    /// Whether there is nothing to apply, not even a position to be moved.
    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0 && self.touched.is_empty()
    }

    /// Puts the users in the order of their shares.
    pub(crate) fn sort(&mut self, mut share: impl FnMut(u32) -> u32) {
        for user in &mut self.touched {
            user.share = share(user.slot);
        }
        self.touched.sort_unstable_by_key(|user| user.share);
    }

    /// Where a step that begins with the user at `begin` ends: users of one share go together.
    pub(crate) fn step_end(&self, begin: usize) -> usize {
        let mut end = self.touched.len().min(begin + STEP_USERS);
        let share = |index: usize| self.touched.get(index).map(|user| user.share);
        while end > begin && end < self.touched.len() && share(end - 1) == share(end) {
            end += 1;
        }
        end
    }

    /// Makes room for the next.
    pub(crate) fn clear(&mut self) {
        self.touched.clear();
        self.entries.clear();
        self.reached.clear();
        self.pending.clear();
        self.records = 0;
        self.rejected = 0;
        self.bytes = 0;
        self.oldest = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_keep_their_order_and_steps_their_shares() {
        let mut batch = Batch::default();
        for slot in 0..1000 {
            assert_eq!(batch.touch(slot, 0), slot);
        }
        for number in 0..5000 {
            batch.change(number * 7 % 1000, 0, Change::Event(number));
        }
        batch.sort(|slot| slot * 31 % 97);
        let mut seen = Vec::new();
        for user in &batch.touched {
            let own: Vec<u32> = batch
                .changes(user)
                .map(|pending| match pending.change {
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
            let end = batch.step_end(begin);
            assert!(end > begin && end <= begin + STEP_USERS + 11);
            assert!(end == 1000 || batch.touched[end - 1].share < batch.touched[end].share);
            begin = end;
        }
    }
}
