//! The partitions of a worker: which are attached, which wait for it, and how far each is.
//!
//! - `resume`: the decision where partitions go on
//! - `rebuild`: the first position of a partition that is built from the log
//! - `partition`: one attached partition
//! - `rejects`: its rejected records
//!
//! Nothing here reads a clock, Kafka or Redis: what was found out comes in as arguments.

mod partition;
mod rebuild;
mod rejects;
mod resume;

pub(crate) use partition::{OwnedPartition, Sweep, Turn};
pub(crate) use rebuild::{MARGIN_MS, Stretch, first_position};
pub(crate) use rejects::Rejects;
pub(crate) use resume::{Cause, Known, Present, Resume, resume};

use crate::batch::Progress;
use crate::setback::Setback;
use crate::store::{Position, StoreTransaction, Token};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The pause before partitions are attached again: longer than a zombie needs to learn that it is one.
const PAUSE: Duration = Duration::from_millis(300);
/// The pause before partitions are tried again that the topic does not have.
const PUT_OFF: Duration = Duration::from_secs(1);
/// The longest pause, after many setbacks without a success in between.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The partitions that the group has assigned to a worker.
#[derive(Debug)]
pub(crate) struct Assignment {
    owned: BTreeMap<i32, OwnedPartition>,
    waiting: BTreeSet<i32>,
    /// Those that the consumer reads already.
    started: BTreeSet<i32>,
    /// Why partitions have to be rebuilt when they are attached next.
    causes: BTreeMap<i32, Cause>,
    /// Users whose stored window cannot be read, with the partition that has to be rebuilt: it goes with that.
    spoilt: BTreeMap<String, i32>,
    retry_at: Option<Instant>,
    /// Setbacks since the last success.
    setbacks: u32,
    /// After a setback, the offsets that the batch given up had reached; a success is what passes them.
    stuck: BTreeMap<i32, i64>,
    /// The last write.
    token: Token,
    /// The group has answered, be it with no partition.
    joined: bool,
}

/// How far a transaction goes.
pub(crate) struct Step<'a> {
    /// The progress of the batch in each partition.
    pub(crate) progress: &'a BTreeMap<i32, Progress>,
    /// The share of the first user that the transaction leaves out; `None` when it is the batch's last.
    pub(crate) next_share: Option<u32>,
    /// Partitions whose users are written, or whose users moved.
    pub(crate) touched: BTreeSet<i32>,
    /// Partitions between which users moved.
    pub(crate) mixed: &'a BTreeSet<i32>,
    /// Positions of partitions of other workers whose users the transaction takes.
    pub(crate) foreign: BTreeMap<i32, Position>,
}

impl Assignment {
    /// No partitions yet. `instance` is drawn at random.
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

    /// The group assigns partitions.
    pub(crate) fn assigned(&mut self, partitions: &[i32]) {
        self.joined = true;
        self.waiting.extend(partitions);
    }

    /// The group takes partitions away.
    pub(crate) fn revoked(&mut self, partitions: &[i32]) {
        for id in partitions {
            self.owned.remove(id);
            self.waiting.remove(id);
            self.started.remove(id);
            self.causes.remove(id);
            self.stuck.remove(id);
            // Whoever has the partition next finds it again.
            self.spoilt.retain(|_, partition| partition != id);
        }
        self.succeed_if_passed();
    }

    /// Everything that is not stored was given up: all partitions are attached again, in a while. `progress` is that of
    /// the batch.
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

    /// Transactions up to these positions were applied.
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

    /// The partitions that are to be attached now; none where it is too early.
    pub(crate) fn due(&self, now: Instant) -> Vec<i32> {
        match self.retry_at {
            Some(time) if now < time => Vec::new(),
            _ => self.waiting.iter().copied().collect(),
        }
    }

    /// The consumer's position in some partition is outside of its log. Those that wait are sought when they are attached.
    pub(crate) fn out_of_range(&self) -> Result<(), Setback> {
        match self.waiting.is_empty() {
            true => Err(Setback::OutOfRange),
            false => Ok(()),
        }
    }

    /// The partitions that are not attached.
    pub(crate) fn waiting(&self) -> &BTreeSet<i32> {
        &self.waiting
    }

    /// The topic does not have the partitions that wait: they are tried again in a while, unless the group takes them
    /// away. Returns those that the consumer does not read yet; the group waits for it to begin.
    pub(crate) fn put_off(&mut self, now: Instant) -> Vec<i32> {
        self.retry_at = Some(now + PUT_OFF);
        let waiting = self.waiting.iter().copied();
        waiting.filter(|id| self.started.insert(*id)).collect()
    }

    /// Tells if the group has answered.
    pub(crate) fn has_joined(&self) -> bool {
        self.joined
    }

    /// Why partitions have to be rebuilt.
    pub(crate) fn causes(&self) -> &BTreeMap<i32, Cause> {
        &self.causes
    }

    /// Users whose stored window cannot be read, each with the partition that has to be rebuilt.
    pub(crate) fn spoilt(&self) -> impl Iterator<Item = (&str, i32)> {
        let spoilt = self.spoilt.iter();
        spoilt.map(|(user, partition)| (user.as_str(), *partition))
    }

    /// The token of the next write.
    pub(crate) fn next_token(&mut self) -> Token {
        self.token.count += 1;
        self.token
    }

    /// Partitions are attached. Returns those that the consumer does not read yet; it has to seek in the others.
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

    /// An attached partition.
    pub(crate) fn get(&self, partition: i32) -> Option<&OwnedPartition> {
        self.owned.get(&partition)
    }

    /// An attached partition.
    pub(crate) fn get_mut(&mut self, partition: i32) -> Option<&mut OwnedPartition> {
        self.owned.get_mut(&partition)
    }

    /// All attached partitions.
    pub(crate) fn owned(&self) -> impl Iterator<Item = (i32, &OwnedPartition)> {
        self.owned.iter().map(|(id, own)| (*id, own))
    }

    /// Bytes of memory for rejected records.
    pub(crate) fn bytes(&self) -> usize {
        self.owned.values().map(OwnedPartition::bytes).sum()
    }

    /// The next offset of each attached partition, as far as was sent.
    pub(crate) fn positions(&self) -> Vec<(i32, i64)> {
        let owned = self.owned();
        owned.map(|(id, own)| (id, own.position().offset)).collect()
    }

    /// Tells if all users of every partition are where its position is, so that a batch may take several
    /// transactions.
    pub(crate) fn nobody_is_ahead(&self) -> bool {
        let mut owned = self.owned.values();
        owned.all(|own| own.position().ahead.is_none())
    }

    /// Has a transaction leave the positions where its users are.
    pub(crate) fn advance(&mut self, step: Step<'_>, transaction: &mut StoreTransaction) {
        let token = self.next_token();
        let mut signed = step.touched;
        for (id, progress) in step.progress {
            let Some(own) = self.owned.get_mut(id) else {
                continue;
            };
            signed.insert(*id);
            match step.next_share {
                Some(share) => own.partly_moved(progress.next, progress.last, share),
                None => {
                    own.moved(progress.next, progress.last);
                    own.rejects().write(*id, transaction);
                }
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
