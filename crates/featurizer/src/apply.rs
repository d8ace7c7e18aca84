//! A batch becomes a step: windows take in their events, features are evaluated, everything is packed.
//!
//! Decides, but reads and writes nothing: what it needs is in the cache, what is to be written in the step.

use crate::batch::{Batch, Change};
use crate::cache::{Cache, Known};
use crate::partition::Partition;
use crate::store::{Step, UserWrite};
use crate::user::{Marks, User};
use std::collections::BTreeMap;
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
    /// Users found in another partition than before.
    pub(crate) adopted: u64,
}

impl Applier {
    /// Applies `batch` to the cache as of the wall clock `now` (epoch ms), and packs `step`. `partitions` are the
    /// worker's own, with the positions the step will leave them at.
    pub(crate) fn apply(
        &mut self,
        rules: &Rules,
        batch: &Batch,
        (occasion, now): (Occasion, i64),
        partitions: &BTreeMap<i32, Partition>,
        cache: &mut Cache,
        step: &mut Step,
    ) {
        let entry_bytes = rules.definitions.entry_bytes();
        for pending in &batch.pending {
            let slot = cache.slot(pending.slot);
            match pending.change {
                Change::Erasure => {
                    if let Known::User(user) = &slot.known
                        && user.scheduled.is_some()
                    {
                        step.unschedule(user.partition, &slot.id);
                    }
                    slot.known = Known::Absent;
                    step.erase(&slot.id);
                }
                Change::Event(begin) => {
                    let Some(partition) = partitions.get(&pending.partition) else {
                        continue;
                    };
                    if !matches!(slot.known, Known::User(_)) {
                        let user = User::new(pending.partition, partition.position.epoch);
                        slot.known = Known::User(Box::new(user));
                    }
                    let Known::User(user) = &mut slot.known else {
                        continue;
                    };
                    if user.partition != pending.partition {
                        self.adopt(
                            user,
                            &slot.id,
                            pending.partition,
                            partition.position.epoch,
                            step,
                        );
                    }
                    let entry = &batch.entries[begin..begin + entry_bytes];
                    user.window.insert(&rules.definitions, entry, &rules.limits);
                }
            }
        }
        for (index, partition) in &batch.stale {
            let slot = cache.slot(*index);
            if !matches!(slot.known, Known::User(_)) {
                step.erase(&slot.id);
            }
            step.checked(*partition, &slot.id);
        }
        for (index, named_by) in &batch.touched {
            let slot = cache.slot(*index);
            match &mut slot.known {
                Known::User(user)
                    if occasion == Occasion::Records || user.partition == *named_by =>
                {
                    if let Some(partition) = partitions.get(&user.partition) {
                        self.write(rules, &slot.id, user, (occasion, now), partition, step);
                    }
                }
                _ if occasion == Occasion::Decay => step.unschedule(*named_by, &slot.id),
                _ => {}
            }
            // Only of its own partitions' users does a worker learn when somebody else writes them.
            if !matches!(&slot.known, Known::User(user) if partitions.contains_key(&user.partition))
            {
                slot.known = Known::Nothing;
            }
            cache.settle(*index);
        }
    }

    fn adopt(&mut self, user: &mut User, id: &str, partition: i32, epoch: u32, step: &mut Step) {
        self.adopted += 1;
        if user.scheduled.take().is_some() {
            step.unschedule(user.partition, id);
        }
        user.partition = partition;
        user.epoch = epoch;
    }

    fn write(
        &mut self,
        rules: &Rules,
        id: &str,
        user: &mut User,
        (occasion, now): (Occasion, i64),
        partition: &Partition,
        step: &mut Step,
    ) {
        let definitions = &rules.definitions;
        // After a warm-up the hash is still to be made, and so is its end.
        let mut renew = occasion == Occasion::Decay || user.scheduled == Some(0);
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
            &UserWrite {
                id,
                user,
                evaluation,
                complete_from,
                stale_marks,
                renew,
            },
        );
    }
}
