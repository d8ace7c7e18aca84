//! The engine: turns a batch into windows, hashes and positions, written in fenced transactions.
//!
//! - `load`: reads users into memory
//! - `apply`: inserts events into windows, and packs a transaction
//!
//! Hashes go out with every batch. Windows follow as checkpoints: when a user has changed some time ago or is evicted, and
//! when partitions are handed over. A position stays where the oldest change begins that is in no stored window.
//!
//! One transaction is in flight while the next is prepared; the engine awaits its outcome before it sends the next.

mod apply;
mod load;
#[cfg(test)]
mod schedules;
mod tally;

pub(crate) use apply::{Occasion, Rules};
pub(crate) use tally::Tally;

use crate::assignment::{Assignment, Step};
use crate::batch::{Batch, BatchUser, TRANSACTION_BYTES, TRANSACTION_USERS};
use crate::relapse::{Relapse, relapsed};
use crate::setback::Setback;
use crate::store::{Door, Hold, Lease, Outcome, StoreTransaction};
use crate::users::{UserLookup, Users};
use apply::{Applier, Context};
use load::{Foreign, Judge};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Time after which a batch under way is given up; `max.poll.interval.ms` is six times as long.
const LONGEST: Duration = Duration::from_secs(10);
/// Time limit for storing all windows before partitions are handed over: a stop takes no longer than 10 s in all.
const LONGEST_CHECKPOINT: Duration = Duration::from_secs(5);
/// Most time (ms) that a change waits for its checkpoint while records are applied again, so that a worker which is
/// stopped time and again gets on all the same.
const BEHIND_MS: i64 = 1_000;

/// The windows that a checkpoint stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Those of users that have changed long enough ago, at a pace that leaves time for batches.
    Due,
    /// All that are newer in memory.
    All,
}

/// The users of a worker, and its lease on the store.
pub(crate) struct Engine<D> {
    rules: Rules,
    users: Users,
    lease: Lease<D>,
    transaction: StoreTransaction,
    applier: Applier,
    /// The wall clock (epoch ms).
    clock: fn() -> i64,
    /// Most time (ms) that a change waits for its checkpoint.
    checkpoint_ms: i64,
    /// Transactions of the batches since the last checkpoint.
    transactions: usize,
    /// Counts to add once the transaction under way is applied, and the positions that it writes.
    pending: (Tally, Vec<(i32, i64)>),
    tally: Tally,
}

impl<D: Door> Engine<D> {
    /// An engine without users, which keeps at most `cache_bytes` of them in memory, and stores what is new of them
    /// after `checkpoint_ms`.
    pub(crate) fn new(
        rules: Rules,
        (cache_bytes, checkpoint_ms): (usize, i64),
        lease: Lease<D>,
        clock: fn() -> i64,
    ) -> Self {
        Self {
            transaction: StoreTransaction::new(&rules.definitions, lease.keys()),
            users: Users::new(cache_bytes),
            applier: Applier::default(),
            pending: Default::default(),
            tally: Tally::default(),
            rules,
            lease,
            clock,
            checkpoint_ms,
            transactions: 0,
        }
    }

    /// Feature definitions and limits.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The wall clock (epoch ms).
    pub(crate) fn now(&self) -> i64 {
        (self.clock)()
    }

    /// The lease, for reads between transactions; settle the transaction under way first.
    pub(crate) fn lease(&mut self) -> &mut Lease<D> {
        &mut self.lease
    }

    /// Connects if necessary; returns the lease and the emptied transaction.
    pub(crate) fn connect(&mut self) -> Result<(&mut Lease<D>, &mut StoreTransaction), Setback> {
        let now = self.now();
        if let Some(skew) = self.lease.connect(now)? {
            self.transaction.set_skew(skew);
        }
        self.transaction.clear();
        Ok((&mut self.lease, &mut self.transaction))
    }

    /// Adds a user, named by a record of `partition`, to a batch, and returns its place there.
    pub(crate) fn touch(&mut self, batch: &mut Batch, user: &str, partition: i32) -> u32 {
        let index = self.users.find(user);
        let slot = self.users.slot(index);
        if let Some(place) = slot.place() {
            return place;
        }
        let bytes = match slot.user() {
            UserLookup::Loaded(user) => user.heap_bytes(),
            _ => 0,
        };
        let place = batch.touch(index, partition, bytes);
        slot.put(place);
        place
    }

    /// Applies a batch and sends its transactions. The outcome of the last one is awaited before the next is sent.
    pub(crate) fn commit(
        &mut self,
        batch: &mut Batch,
        assignment: &mut Assignment,
        occasion: Occasion,
    ) -> Result<(), Setback> {
        if batch.is_empty() {
            return Ok(());
        }
        let owned = assignment.owned();
        let begins = owned.map(|(id, own)| (id, own.applied()));
        self.users.begin(self.now(), begins);
        let (begun, mut begin, all) = (Instant::now(), 0, batch.users().len());
        loop {
            let users = &mut self.users;
            let part = batch.transaction(begin, |user| {
                matches!(users.slot(user.slot()).user(), UserLookup::NotLoaded)
            });
            begin = self.commit_part(batch, part, assignment, occasion)?;
            self.transactions += 1;
            if begin == all {
                break;
            }
            if begun.elapsed() > LONGEST {
                // What is written stays so; the rest follows from the stored position.
                return Err(Setback::Slow(begun.elapsed()));
            }
        }
        batch.written(begun.elapsed());
        batch.clear();
        Ok(())
    }

    fn commit_part(
        &mut self,
        batch: &Batch,
        part: Range<usize>,
        assignment: &mut Assignment,
        occasion: Occasion,
    ) -> Result<usize, Setback> {
        let now = self.now();
        let started = Instant::now();
        let mut foreign = self.load(&batch.users()[part.clone()], assignment, occasion, now)?;
        let loaded = Instant::now();
        self.transaction.clear();
        let context = Context {
            rules: &self.rules,
            batch,
            assignment,
            foreign: &foreign,
            occasion,
            now,
        };
        let part_begin = part.start;
        let applied = self
            .applier
            .apply(&context, part, &mut self.users, &mut self.transaction);
        let last = applied.end == batch.users().len();
        let mut touched = applied.touched;
        self.evict(&mut touched);
        // A user of another worker may have been read in vain: its records were applied before.
        foreign.retain(|partition, _| applied.left.contains(partition));
        let step = Step {
            progress: batch.progress(),
            last,
            touched,
            mixed: &applied.mixed,
            early: &applied.early,
            foreign,
        };
        let packed = Instant::now();
        self.send(assignment, step)?;
        self.tally
            .took(loaded - started, packed - loaded, packed.elapsed());
        let (pending, _) = &mut self.pending;
        pending.transaction(applied.end - part_begin, applied.adopted);
        if last {
            pending.batch(batch.records(), batch.oldest());
        }
        Ok(applied.end)
    }

    /// Sends the packed transaction, with the positions that its users reach.
    fn send(&mut self, assignment: &mut Assignment, step: Step<'_>) -> Result<(), Setback> {
        let users = &self.users;
        assignment.advance(
            step,
            |partition| users.low(partition),
            &mut self.transaction,
        );
        self.settle(assignment)?;
        if self.lease.send(&mut self.transaction)? == Hold::Lost {
            return Err(Setback::Superseded);
        }
        self.pending.0.windows += self.transaction.windows();
        self.pending.1 = assignment.positions();
        Ok(())
    }

    /// Evicts users while there are too many; the transaction stores what is new of them.
    fn evict(&mut self, touched: &mut BTreeSet<i32>) {
        while self.transaction.bytes() < 2 * TRANSACTION_BYTES {
            let Some(index) = self.users.leaving() else {
                break;
            };
            if self.users.is_unsaved(index) && !relapsed(Relapse::EvictedUnsaved) {
                self.store(index, touched);
            }
            self.users.leave(index);
        }
    }

    /// Has the transaction store the window of a user.
    fn store(&mut self, index: u32, touched: &mut BTreeSet<i32>) {
        if let (id, UserLookup::Loaded(user)) = self.users.slot(index).parts() {
            touched.insert(user.home().partition);
            self.transaction
                .window(&self.rules.definitions, id, user.as_mut());
        }
        self.users.saved(index);
    }

    /// Stores windows of users that are newer in memory. The outcome of the last transaction is awaited before the next
    /// is sent.
    pub(crate) fn checkpoint(
        &mut self,
        assignment: &mut Assignment,
        extent: Extent,
    ) -> Result<(), Setback> {
        let begun = Instant::now();
        let most = match extent {
            // As many as the batches had, and some to catch up.
            Extent::Due => 1 + 2 * std::mem::take(&mut self.transactions),
            Extent::All => usize::MAX,
        };
        for _ in 0..most {
            let before = match extent {
                Extent::Due if assignment.is_behind() => {
                    self.now() - self.checkpoint_ms.min(BEHIND_MS) + 1
                }
                Extent::Due => self.now() - self.checkpoint_ms + 1,
                Extent::All => i64::MAX,
            };
            self.transaction.clear();
            let (mut touched, mut users) = (BTreeSet::new(), 0);
            while users < TRANSACTION_USERS && self.transaction.bytes() < TRANSACTION_BYTES {
                let Some(index) = self.users.next_unsaved(before) else {
                    break;
                };
                self.store(index, &mut touched);
                users += 1;
            }
            if users == 0 {
                break;
            }
            let step = Step {
                progress: &BTreeMap::new(),
                last: true,
                touched,
                mixed: &BTreeSet::new(),
                early: &BTreeSet::new(),
                foreign: Foreign::new(),
            };
            self.send(assignment, step)?;
            self.pending.0.transaction(0, 0);
            if begun.elapsed() > LONGEST_CHECKPOINT {
                return Err(Setback::Slow(begun.elapsed()));
            }
        }
        Ok(())
    }

    /// Reads the users of a part of a batch that are not in memory.
    fn load(
        &mut self,
        part: &[BatchUser],
        assignment: &mut Assignment,
        occasion: Occasion,
        now: i64,
    ) -> Result<Foreign, Setback> {
        let outlives_ms = self.transaction.outlives_ms();
        let users = &mut self.users;
        let mut is_missing = |user: &&BatchUser| match users.slot(user.slot()).user() {
            UserLookup::NotLoaded => true,
            // Redis has evicted it, or will before the transaction arrives.
            UserLookup::Loaded(user) => user.expires_at().saturating_add(outlives_ms) <= now,
            UserLookup::Missing(_) => false,
        };
        let missing = part.iter().filter(|user| is_missing(user)).copied();
        let missing: Vec<BatchUser> = missing.collect();
        if missing.is_empty() {
            return Ok(Foreign::new());
        }
        self.settle(assignment)?;
        self.tally.loaded(missing.len());
        let judge = Judge {
            rules: &self.rules,
            assignment,
            outlives_ms,
            now,
        };
        load::load(&judge, &mut self.users, &mut self.lease, &missing, occasion)
    }

    /// Waits for the outcome of the transaction under way.
    pub(crate) fn settle(&mut self, assignment: &mut Assignment) -> Result<(), Setback> {
        if !self.lease.is_under_way() {
            return Ok(());
        }
        let (pending, positions) = std::mem::take(&mut self.pending);
        match self.lease.outcome()? {
            Outcome::Applied(refused, error) => {
                let now = self.now();
                self.tally.applied(pending, now, refused, error);
                assignment.succeeded(&positions);
                Ok(())
            }
            Outcome::Refused => Err(Setback::Superseded),
            Outcome::Torn(partitions, error) => Err(Setback::Torn { partitions, error }),
        }
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.lease.is_under_way()
    }

    /// Compares the stored positions with those written last.
    pub(crate) fn verify(&mut self) -> Result<(), Setback> {
        match self.lease.verify()? {
            Hold::Kept => Ok(()),
            Hold::Lost => Err(Setback::Superseded),
        }
    }

    /// Drops everything that is not stored.
    pub(crate) fn go_back(&mut self) {
        self.users.clear();
        self.lease.disconnect();
        self.pending = Default::default();
    }

    /// Releases partitions, and evicts their users.
    pub(crate) fn release(&mut self, partitions: &[i32]) {
        self.lease.release(partitions);
        self.users.evict(partitions);
    }

    /// Notes attached partitions, whose users in memory may be of an earlier building. Releases `others`, which a
    /// rebuild includes: their own workers will hold them.
    pub(crate) fn attached(&mut self, partitions: &[i32], others: &[i32]) {
        self.users.evict(partitions);
        self.lease.release(others);
    }

    /// The number of users that are newer in memory than their stored window.
    pub(crate) fn unsaved(&self) -> usize {
        self.users.unsaved()
    }

    /// The number of users in memory, and their bytes.
    pub(crate) fn cached(&self) -> (usize, usize) {
        self.users.size()
    }

    /// The counts since the last call.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }
}
