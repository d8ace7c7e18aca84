//! A batch becomes a step: windows take in their events, features are evaluated, everything is packed.
//!
//! Decides, but reads and writes nothing: what it needs is in the cache, what is to be written in the step.

use crate::batch::{Batch, Change, Pending, STEP_BYTES};
use crate::cache::{Cache, Known, Slot};
use crate::partition::Partition;
use crate::store::{Step, UserWrite};
use crate::user::{Marks, Stored, User};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use tidemill_core::features::{Definitions, Evaluation, Limits};

/// Lives are counted in seconds, as Redis' own EXPIRE does: within one, they are not renewed again.
const RENEWAL_MS: i64 = 1000;

/// What does not change from batch to batch.
pub(crate) struct Rules {
    /// The features.
    pub(crate) definitions: Definitions,
    /// How much of its events a window keeps.
    pub(crate) limits: Limits,
}

/// What a batch is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Records: the lives of their users' hashes are renewed.
    Records,
    /// Time: features are evaluated anew, and no life is prolonged.
    Decay,
}

/// Applies batches; keeps what each evaluation needs.
#[derive(Default)]
pub(crate) struct Applier {
    evaluation: Evaluation,
    /// The entries that one user gets.
    news: Vec<u8>,
    /// Users found in another partition than before.
    pub(crate) adopted: u64,
    /// The partitions they came from and went to.
    pub(crate) mixed: BTreeSet<i32>,
}

impl Applier {
    /// Applies the changes of a batch's `users` to the cache as of the wall clock `now` (epoch ms), and packs
    /// `step`; returns where it ended, which is earlier than asked where the step is full. `partitions` are the
    /// worker's own.
    pub(crate) fn apply(
        &mut self,
        rules: &Rules,
        (batch, users): (&Batch, Range<usize>),
        (occasion, now): (Occasion, i64),
        partitions: &BTreeMap<i32, Partition>,
        cache: &mut Cache,
        step: &mut Step,
    ) -> usize {
        let end = users.end;
        let mut share = None;
        for index in users {
            let user = &batch.touched[index];
            if step.bytes() >= STEP_BYTES && share != Some(user.share) {
                // Loaded for nothing: what the watch on them has seen is void after this step.
                batch.touched[index..end]
                    .iter()
                    .for_each(|user| forget_foreign(cache.slot(user.slot), partitions));
                return index;
            }
            share = Some(user.share);
            let slot = cache.slot(user.slot);
            let mut anew = false;
            self.news.clear();
            for pending in batch.changes(user) {
                anew |= self.change(rules, batch, pending, partitions, slot, step);
            }
            match &mut slot.known {
                Known::User(known)
                    if occasion == Occasion::Records || known.partition == user.partition =>
                {
                    if let Some(partition) = partitions.get(&known.partition) {
                        let when = (occasion, now);
                        self.write(rules, (&slot.id, known, anew), when, partition, step);
                    }
                }
                _ if occasion == Occasion::Decay => step.unschedule(user.partition, &slot.id),
                _ => {}
            }
            forget_foreign(slot, partitions);
            cache.settle(user.slot);
        }
        end
    }

    /// Applies one change; true when the user begins with it.
    fn change(
        &mut self,
        rules: &Rules,
        batch: &Batch,
        pending: Pending,
        partitions: &BTreeMap<i32, Partition>,
        slot: &mut Slot,
        step: &mut Step,
    ) -> bool {
        match pending.change {
            Change::Erasure => {
                if let Known::User(user) = &slot.known
                    && user.scheduled.is_some()
                {
                    step.unschedule(user.partition, &slot.id);
                }
                slot.known = Known::Absent;
                step.erase(&slot.id);
                false
            }
            Change::Check => {
                if !matches!(slot.known, Known::User(_)) {
                    step.erase(&slot.id);
                }
                step.checked(pending.partition, &slot.id);
                false
            }
            Change::Event(begin) => {
                let Some(partition) = partitions.get(&pending.partition) else {
                    return false;
                };
                let anew = !matches!(slot.known, Known::User(_));
                if anew {
                    let user = User::new(pending.partition, partition.position.epoch);
                    slot.known = Known::User(Box::new(user));
                }
                let Known::User(user) = &mut slot.known else {
                    return false;
                };
                if user.partition != pending.partition {
                    self.adopt(user, &slot.id, (pending.partition, partition), step);
                }
                let begin = begin as usize;
                let entry = &batch.entries[begin..begin + rules.definitions.entry_bytes()];
                user.window.insert(&rules.definitions, entry, &rules.limits);
                self.news.extend_from_slice(entry);
                anew
            }
        }
    }

    fn adopt(
        &mut self,
        user: &mut User,
        id: &str,
        (number, partition): (i32, &Partition),
        step: &mut Step,
    ) {
        self.adopted += 1;
        self.mixed.extend([user.partition, number]);
        if user.scheduled.take().is_some() {
            step.unschedule(user.partition, id);
        }
        user.partition = number;
        user.epoch = partition.position.epoch;
        user.stored = Stored::default();
    }

    fn write(
        &mut self,
        rules: &Rules,
        (id, user, anew): (&str, &mut User, bool),
        (occasion, now): (Occasion, i64),
        partition: &Partition,
        step: &mut Step,
    ) {
        let definitions = &rules.definitions;
        // After a warm-up the hash is still to be made, and so is its end.
        let first = user.scheduled == Some(0);
        let mut renew = occasion == Occasion::Decay || first;
        let renewed = now + definitions.ttl_ms();
        if occasion == Occasion::Records
            && renewed - user.expires_at >= RENEWAL_MS.min(definitions.ttl_ms() / 1000)
        {
            user.expires_at = renewed;
            renew = true;
        }
        let (mut due, mut evaluation, mut complete_from) = (None, None, None);
        let mut marks = user.marks;
        if partition.warming() {
            // The hash follows when all events are in, which is the first thing that is due then.
            due = Some(0);
        } else if user.expires_at > now {
            let as_of = user.window.newest().map_or(now, |newest| newest.max(now));
            user.window
                .evaluate(definitions, as_of, &mut self.evaluation);
            let until = |from: i64| from.saturating_add(definitions.longest_ms());
            complete_from = partition
                .position
                .complete_from
                .filter(|from| until(*from) > now);
            due = self
                .evaluation
                .next_expiry
                .into_iter()
                .chain(complete_from.map(until))
                .min();
            marks = Marks {
                inexact: !self.evaluation.exact,
                incomplete: complete_from.is_some(),
            };
            evaluation = Some(&self.evaluation);
        }
        let stale_marks =
            (user.marks.inexact && !marks.inexact) || (user.marks.incomplete && !marks.incomplete);
        user.marks = marks;
        if due != user.scheduled {
            match due {
                Some(at) => step.schedule(user.partition, id, at),
                None => step.unschedule(user.partition, id),
            }
            user.scheduled = due;
        }
        step.user(
            definitions,
            UserWrite {
                id,
                user,
                news: &self.news,
                evaluation,
                complete_from,
                stale_marks,
                renew,
                anew: anew || first,
            },
        );
    }
}

/// Only of its own partitions' users does a worker learn when somebody else writes them.
fn forget_foreign(slot: &mut Slot, partitions: &BTreeMap<i32, Partition>) {
    if !matches!(&slot.known, Known::User(user) if partitions.contains_key(&user.partition)) {
        slot.known = Known::Nothing;
    }
}
