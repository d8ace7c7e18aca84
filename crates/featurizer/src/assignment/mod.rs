//! The partitions of a worker: which are attached, which wait to be attached, and each one's position.
//!
//! - `resume`: decides where each partition resumes
//! - `rebuild`: the first position of a partition whose windows are built from the log
//! - `partition`: one attached partition
//! - `rejects`: the rejected records of a partition
//!
//! Nothing here reads a clock, Kafka or Redis: callers pass in what they found.

mod partition;
mod rebuild;
mod rejects;
mod resume;

pub(crate) use partition::{OwnedPartition, Sweep, Turn};
pub(crate) use rebuild::{MARGIN_MS, Stretch, first_position};
pub(crate) use rejects::Rejects;
pub(crate) use resume::{Cause, Known, Present, Resume, all_are_built, resume};

use crate::batch::{Progress, Span};
use crate::setback::Setback;
use crate::store::{Position, StoreTransaction, Token};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Pause before partitions are attached again: longer than a zombie needs to notice that it is one.
const PAUSE: Duration = Duration::from_millis(300);
/// Pause before the worker tries again to attach partitions that the topic does not have.
const PUT_OFF: Duration = Duration::from_secs(1);
/// Longest pause, after many setbacks without a success between them.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The partitions that the group has assigned to a worker.
#[derive(Debug)]
pub(crate) struct Assignment {
    owned: BTreeMap<i32, OwnedPartition>,
    waiting: BTreeSet<i32>,
    /// Partitions that the consumer already reads.
    started: BTreeSet<i32>,
    /// Reasons to rebuild partitions when they are attached next.
    causes: BTreeMap<i32, Cause>,
    /// Users whose stored window cannot be read, each with the partition that has to be rebuilt; that rebuild deletes
    /// hash and window.
    spoilt: BTreeMap<String, i32>,
    retry_at: Option<Instant>,
    /// Setbacks since the last success.
    setbacks: u32,
    /// After a setback, the offset that the dropped batch had reached in each partition; success is to get past them.
    stuck: BTreeMap<i32, i64>,
    /// Token of the last write.
    token: Token,
    /// True once the group has answered, even if it assigned no partition.
    joined: bool,
}

/// The part of a batch that a transaction applies.
pub(crate) struct Step<'a> {
    /// The progress of the batch in each partition.
    pub(crate) progress: &'a BTreeMap<i32, Progress>,
    /// True for the batch's last transaction.
    pub(crate) last: bool,
    /// Partitions whose users are written, or from which users moved.
    pub(crate) touched: BTreeSet<i32>,
    /// Partitions between which users moved.
    pub(crate) mixed: &'a BTreeSet<i32>,
    /// Partitions whose windows are being built, and whose erasures took events that they may not cover.
    pub(crate) early: &'a BTreeSet<i32>,
    /// Positions of other workers' partitions whose users move into this transaction.
    pub(crate) foreign: BTreeMap<i32, Position>,
}

impl Assignment {
    /// An assignment without partitions. `instance` is drawn at random.
    pub(crate) fn new(instance: u64) -> Self {
        Self {
            owned: BTreeMap::new(),
            waiting: BTreeSet::new(),
            started: BTreeSet::new(),
            causes: BTreeMap::new(),
            spoilt: BTreeMap::new(),
            retry_at: None,
            setbacks: 0,
            stuck: BTreeMap::new(),
            token: Token { instance, count: 0 },
            joined: false,
        }
    }

    /// Takes in partitions that the group assigns.
    pub(crate) fn assigned(&mut self, partitions: &[i32]) {
        self.joined = true;
        self.waiting.extend(partitions);
    }

    /// Drops partitions that the group revokes.
    pub(crate) fn revoked(&mut self, partitions: &[i32]) {
        for id in partitions {
            self.owned.remove(id);
            self.waiting.remove(id);
            self.started.remove(id);
            self.causes.remove(id);
            self.stuck.remove(id);
            // The next worker of the partition finds the unreadable window itself.
            self.spoilt.retain(|_, partition| partition != id);
        }
        self.succeed_if_passed();
    }

    /// Gives up everything that is not stored: all partitions are attached again after a pause. `progress` is that of
    /// the dropped batch.
    pub(crate) fn go_back(
        &mut self,
        setback: &Setback,
        progress: &BTreeMap<i32, Progress>,
        now: Instant,
    ) {
        let owned = std::mem::take(&mut self.owned);
        self.waiting.extend(owned.into_keys());
        self.causes.extend(setback.causes());
        if let Setback::Unreadable { user, home, met_in } = setback {
            self.spoilt.insert(user.clone(), home.unwrap_or(*met_in));
        }
        let own = progress.iter().filter(|(id, _)| self.waiting.contains(id));
        self.stuck
            .extend(own.map(|(id, progress)| (*id, progress.next)));
        let doubled = PAUSE.saturating_mul(1 << self.setbacks.min(5));
        self.retry_at = Some(now + doubled.min(LONGEST_PAUSE));
        self.setbacks += 1;
    }

    /// Notes that transactions up to these positions were applied.
    pub(crate) fn succeeded(&mut self, positions: &[(i32, i64)]) {
        if self.setbacks > 0 {
            for (id, offset) in positions {
                self.stuck
                    .retain(|stuck, until| stuck != id || *offset < *until);
            }
            self.succeed_if_passed();
        }
    }

    fn succeed_if_passed(&mut self) {
        if self.stuck.is_empty() && self.waiting.is_empty() {
            self.setbacks = 0;
        }
    }

    /// Tells if the worker has gone back and not succeeded since.
    pub(crate) fn is_failing(&self) -> bool {
        self.setbacks > 0
    }

    /// The partitions to attach now; none while the pause lasts.
    pub(crate) fn due(&self, now: Instant) -> Vec<i32> {
        match self.retry_at {
            Some(time) if now < time => Vec::new(),
            _ => self.waiting.iter().copied().collect(),
        }
    }

    /// Judges a consumer position outside of a partition's log: a setback, unless partitions wait, since attaching them
    /// seeks.
    pub(crate) fn out_of_range(&self) -> Result<(), Setback> {
        match self.waiting.is_empty() {
            true => Err(Setback::OutOfRange),
            false => Ok(()),
        }
    }

    /// Partitions that are not attached.
    pub(crate) fn waiting(&self) -> &BTreeSet<i32> {
        &self.waiting
    }

    /// Postpones partitions that wait and that the topic does not have, until the group revokes them. Returns those
    /// that the consumer does not read yet: the group waits for it to start.
    pub(crate) fn put_off(&mut self, now: Instant) -> Vec<i32> {
        self.retry_at = Some(now + PUT_OFF);
        let waiting = self.waiting.iter().copied();
        waiting.filter(|id| self.started.insert(*id)).collect()
    }

    /// Tells if the group has answered.
    pub(crate) fn has_joined(&self) -> bool {
        self.joined
    }

    /// Reasons to rebuild partitions.
    pub(crate) fn causes(&self) -> &BTreeMap<i32, Cause> {
        &self.causes
    }

    /// Users whose stored window cannot be read, each with the partition that has to be rebuilt.
    pub(crate) fn spoilt(&self) -> impl Iterator<Item = (&str, i32)> {
        let spoilt = self.spoilt.iter();
        spoilt.map(|(user, partition)| (user.as_str(), *partition))
    }

    /// Partitions whose windows are built, and have to be built once more; none while others wait, or within a second
    /// of the last call.
    pub(crate) fn due_again(&mut self, now: Instant) -> Vec<i32> {
        if !self.waiting.is_empty() || self.retry_at.is_some_and(|time| now < time) {
            return Vec::new();
        }
        let again = self.owned().filter(|(_, own)| own.is_due_again());
        let again: Vec<i32> = again.map(|(id, _)| id).collect();
        if !again.is_empty() {
            self.retry_at = Some(now + PUT_OFF);
        }
        again
    }

    /// The token of the next write.
    pub(crate) fn next_token(&mut self) -> Token {
        self.token.count += 1;
        self.token
    }

    /// Notes attached partitions. Returns those that the consumer does not read yet; it must seek in the others.
    pub(crate) fn attached(&mut self, partitions: BTreeMap<i32, OwnedPartition>) -> Vec<i32> {
        self.causes.clear();
        self.spoilt.clear();
        self.retry_at = None;
        for id in partitions.keys() {
            self.waiting.remove(id);
        }
        let ids = partitions.keys().copied();
        let new = ids.filter(|id| self.started.insert(*id)).collect();
        self.owned.extend(partitions);
        self.succeed_if_passed();
        new
    }

    pub(crate) fn get(&self, partition: i32) -> Option<&OwnedPartition> {
        self.owned.get(&partition)
    }

    pub(crate) fn get_mut(&mut self, partition: i32) -> Option<&mut OwnedPartition> {
        self.owned.get_mut(&partition)
    }

    pub(crate) fn owned(&self) -> impl Iterator<Item = (i32, &OwnedPartition)> {
        self.owned.iter().map(|(id, own)| (*id, own))
    }

    /// Bytes of memory that rejected records take.
    pub(crate) fn bytes(&self) -> usize {
        self.owned.values().map(OwnedPartition::bytes).sum()
    }

    /// The next offset to apply of each attached partition, transactions still under way included.
    pub(crate) fn positions(&self) -> Vec<(i32, i64)> {
        let owned = self.owned();
        owned.map(|(id, own)| (id, own.applied().next)).collect()
    }

    /// True if hashes of some partition show records that are not applied again yet.
    pub(crate) fn is_behind(&self) -> bool {
        self.owned.values().any(OwnedPartition::is_behind)
    }

    /// True if the log has records that windows are to be built from, and that are not taken yet.
    pub(crate) fn has_more(&self) -> bool {
        self.owned.values().any(OwnedPartition::has_more)
    }

    /// The span of the next batch.
    pub(crate) fn span(&self) -> Span {
        match self.owned.values().all(OwnedPartition::is_warming) {
            true => Span::WarmUp,
            false => Span::Live,
        }
    }

    /// Has a transaction write the positions that its users reach. `low` tells where the oldest change of a partition
    /// begins that is in no stored window once the transaction is applied.
    pub(crate) fn advance(
        &mut self,
        step: Step<'_>,
        low: impl Fn(i32) -> Option<Progress>,
        transaction: &mut StoreTransaction,
    ) {
        let token = self.next_token();
        let mut signed = step.touched;
        for (id, progress) in step.progress {
            let Some(own) = self.owned.get_mut(id) else {
                continue;
            };
            signed.insert(*id);
            if step.last {
                own.moved(*progress);
                own.rejects().write(*id, transaction);
            } else {
                own.partly_moved(*progress);
            }
        }
        let mut foreign = step.foreign;
        for id in step.mixed {
            signed.insert(*id);
            if let Some(own) = self.owned.get_mut(id) {
                own.mix();
            } else if let Some(position) = foreign.get_mut(id) {
                position.mixed = true;
            }
        }
        for id in step.early {
            if let Some(own) = self.owned.get_mut(id) {
                own.build_again();
            }
        }
        for (id, own) in &mut self.owned {
            if own.store(low(*id)) {
                signed.insert(*id);
            }
        }
        for id in signed {
            if let Some(own) = self.owned.get_mut(&id) {
                own.sign(token);
                transaction.position(id, own.position().clone());
            }
        }
        for (id, mut position) in foreign {
            position.token = token;
            transaction.disturb(id, position);
        }
    }
}

#[cfg(test)]
mod tests;
