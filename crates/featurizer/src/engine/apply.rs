//! A batch becomes a transaction: windows take in their events, features are evaluated, everything is packed.
//!
//! It decides, but reads and writes nothing: the users are in memory, and the transaction is sent by others.

use crate::assignment::{Assignment, OwnedPartition};
use crate::batch::{Batch, BatchUser, Change, TRANSACTION_BYTES, UserChange};
use crate::relapse::{Relapse, relapsed};
use crate::store::{Position, StoreTransaction, UserWrite};
use crate::users::{Erasures, Home, Marks, Place, Slot, User, UserLookup, Users};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use tidemill_core::features::{Definitions, Evaluation, Limits};

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
    /// Time: features are evaluated again, and no life is prolonged.
    Decay,
}

/// What applying a part of a batch has brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The end of the users applied, earlier than asked where the transaction is full.
    pub(crate) end: usize,
    /// The partitions of the users applied.
    pub(crate) touched: BTreeSet<i32>,
    /// The partitions between which users moved.
    pub(crate) mixed: BTreeSet<i32>,
    /// The number of users that moved.
    pub(crate) adopted: u64,
}

/// Applies batches; keeps the memory that evaluations need.
#[derive(Default)]
pub(crate) struct Applier {
    evaluation: Evaluation,
    /// The entries that one user gets.
    entries: Vec<u8>,
}

/// What applying needs to know.
pub(crate) struct Context<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) batch: &'a Batch,
    pub(crate) assignment: &'a Assignment,
    /// The positions of partitions of other workers that users come from.
    pub(crate) foreign: &'a BTreeMap<i32, Position>,
    pub(crate) occasion: Occasion,
    /// The wall clock (epoch ms).
    pub(crate) now: i64,
}

/// What the changes of one user bring.
struct Changes<'a> {
    transaction: &'a mut StoreTransaction,
    applied: &'a mut Applied,
    /// The user begins with them.
    anew: bool,
    /// The state is to be written.
    write: bool,
}

impl Applier {
    /// Applies the changes of a part of the batch's users to memory, and packs the transaction.
    pub(crate) fn apply(
        &mut self,
        context: &Context<'_>,
        part: Range<usize>,
        users: &mut Users,
        transaction: &mut StoreTransaction,
    ) -> Applied {
        let all = context.batch.users();
        let mut applied = Applied {
            end: part.end,
            ..Applied::default()
        };
        let mut share = None;
        for index in part.clone() {
            let user = &all[index];
            if transaction.bytes() >= TRANSACTION_BYTES && share != Some(user.share()) {
                // They were loaded in vain: the WATCH on them ends with this transaction.
                for user in &all[index..part.end] {
                    forget_foreign(users.slot(user.slot()), context.assignment);
                }
                applied.end = index;
                return applied;
            }
            share = Some(user.share());
            applied.touched.insert(user.partition());
            let slot = users.slot(user.slot());
            self.user(context, user, slot, transaction, &mut applied);
            forget_foreign(slot, context.assignment);
            users.release(user.slot());
        }
        applied
    }

    fn user(
        &mut self,
        context: &Context<'_>,
        user: &BatchUser,
        slot: &mut Slot,
        transaction: &mut StoreTransaction,
        applied: &mut Applied,
    ) {
        let due = context.occasion == Occasion::Decay;
        let mut changes = Changes {
            transaction,
            applied,
            anew: false,
            write: false,
        };
        let mut checked = false;
        self.entries.clear();
        for change in context.batch.changes(user) {
            match change.change {
                Change::Event(begin) => self.event(context, change, begin, slot, &mut changes),
                Change::Erasure => erase(context, change.place, slot, &mut changes),
                Change::Check => checked = true,
            }
        }
        let Changes { anew, write, .. } = changes;
        let (id, state) = slot.parts();
        let own = match state {
            UserLookup::Loaded(state) => context.assignment.get(state.home().partition),
            _ => None,
        };
        match (state, own) {
            (UserLookup::Loaded(state), Some(own)) if write => {
                self.write(context, (id, state.as_mut(), anew), own, transaction);
            }
            (UserLookup::Loaded(state), Some(own))
                if due && state.home().partition == user.partition() =>
            {
                let is_due = !checked || needs_look(context, state, own);
                if is_due {
                    self.write(context, (id, state.as_mut(), false), own, transaction);
                }
            }
            (UserLookup::Loaded(_), _) if due => transaction.unschedule(user.partition(), id),
            (state, _) if due => {
                self.left_behind(context, user.partition(), id, state, transaction)
            }
            _ => {}
        }
    }

    /// Ends a user without a state, whom an earlier building has left behind, or whose window's life has ended. If the
    /// events may just have been deleted from the log, the hash says so instead.
    fn left_behind(
        &mut self,
        context: &Context<'_>,
        partition: i32,
        id: &str,
        state: &mut UserLookup,
        transaction: &mut StoreTransaction,
    ) {
        transaction.delete(id);
        transaction.unschedule(partition, id);
        let Some(own) = context.assignment.get(partition) else {
            return;
        };
        let home = Home {
            partition,
            epoch: own.position().building.epoch,
        };
        let erasures = match state {
            UserLookup::Missing(erasures) => std::mem::take(erasures),
            _ => Erasures::default(),
        };
        let mut user = User::new(home, erasures);
        if incomplete_until(context, &user, own).is_some() {
            // Its events may have been in another partition, of which other records are lost.
            user.lack(Some(context.now + 1));
            user.renew(context.now, context.rules.definitions.ttl_ms());
            self.write(context, (id, &mut user, true), own, transaction);
            *state = UserLookup::Loaded(Box::new(user));
        }
    }

    fn event(
        &mut self,
        context: &Context<'_>,
        change: UserChange,
        begin: u32,
        slot: &mut Slot,
        changes: &mut Changes<'_>,
    ) {
        let place = change.place;
        let Some(home) = home(context, place) else {
            return;
        };
        let (id, state) = slot.parts();
        let erasures = match state {
            UserLookup::Loaded(user) => user.erasures(),
            UserLookup::Missing(erasures) => erasures,
            UserLookup::NotLoaded => return,
        };
        if erasures.cover(place) && !relapsed(Relapse::ErasureForgotten) {
            return;
        }
        make(state, home, changes);
        let UserLookup::Loaded(user) = state else {
            return;
        };
        if user.home().partition != home.partition {
            changes.applied.adopted += 1;
            let moved = [user.home().partition, home.partition];
            changes.applied.mixed.extend(moved);
            let complete_from = complete_from(context, user.home().partition);
            if let Some(before) = user.adopt(home, complete_from) {
                changes.transaction.unschedule(before.partition, id);
            }
        }
        let Rules {
            definitions,
            limits,
        } = context.rules;
        let entry = context.batch.entry(begin, definitions.entry_bytes());
        user.insert(definitions, limits, entry, place.time);
        self.entries.extend_from_slice(entry);
        changes.write = true;
    }

    fn write(
        &mut self,
        context: &Context<'_>,
        (id, user, anew): (&str, &mut User, bool),
        own: &OwnedPartition,
        transaction: &mut StoreTransaction,
    ) {
        let (definitions, now) = (&context.rules.definitions, context.now);
        // After a warm-up the hash is still to be made, and so is its end.
        let first = user.scheduled() == Some(0);
        let mut renew = context.occasion == Occasion::Decay || first;
        if context.occasion == Occasion::Records {
            renew |= user.renew(now, definitions.ttl_ms());
        }
        let (mut due, mut evaluation, mut complete_from) = (None, None, None);
        let mut marks = user.marks();
        if own.is_warming() {
            // The hash follows when all events are in, which is the first thing that is due then.
            due = Some(0);
        } else if user.expires_at() > now {
            user.evaluate(definitions, now, &mut self.evaluation);
            let incomplete = incomplete_until(context, user, own);
            complete_from = incomplete.map(|(from, _)| from);
            let until = incomplete.map(|(_, until)| until);
            due = self.evaluation.next_expiry.into_iter().chain(until).min();
            marks = Marks {
                inexact: !self.evaluation.exact,
                incomplete: complete_from.is_some(),
            };
            evaluation = Some(&self.evaluation);
        }
        let stale_marks = user.mark(marks);
        // A user that is due may stand there by an earlier building, of which the state knows nothing.
        if user.schedule(due) || context.occasion == Occasion::Decay {
            match due {
                Some(at) => transaction.schedule(user.home().partition, id, at),
                None => transaction.unschedule(user.home().partition, id),
            }
        }
        transaction.user(
            definitions,
            UserWrite {
                id,
                user,
                entries: &self.entries,
                evaluation,
                complete_from,
                stale_marks,
                renew,
                anew: anew || first,
            },
        );
    }
}

/// The time before which events of the user may be missing, and the one until which that matters (epoch ms).
fn incomplete_until(
    context: &Context<'_>,
    user: &User,
    own: &OwnedPartition,
) -> Option<(i64, i64)> {
    let times = [own.position().complete_from, user.complete_from()];
    let from = times.into_iter().flatten().max()?;
    let until = from.saturating_add(context.rules.definitions.longest_ms());
    (until > context.now).then_some((from, until))
}

/// The Kafka time before which records of a partition were lost, whoever holds it (epoch ms).
fn complete_from(context: &Context<'_>, partition: i32) -> Option<i64> {
    let own = context
        .assignment
        .get(partition)
        .map(OwnedPartition::position);
    own.or_else(|| context.foreign.get(&partition))?
        .complete_from
}

/// Tells if the sweep has to write a user: one that is due, or whose hash says less than it should.
fn needs_look(context: &Context<'_>, user: &User, own: &OwnedPartition) -> bool {
    let incomplete = incomplete_until(context, user, own).is_some();
    let due = user.scheduled().is_some_and(|at| at <= context.now);
    // It may be marked, but with an earlier time.
    due || incomplete
}

/// Erases a user, unless the erasure was known when the state was made.
fn erase(context: &Context<'_>, place: Place, slot: &mut Slot, changes: &mut Changes<'_>) {
    let (id, state) = slot.parts();
    let mut erasures = match state {
        UserLookup::Loaded(user) => user.erasures().clone(),
        UserLookup::Missing(erasures) => std::mem::take(erasures),
        UserLookup::NotLoaded => Erasures::default(),
    };
    if erasures.contain(place) {
        if let UserLookup::Missing(kept) = state {
            *kept = erasures;
        }
        return;
    }
    let mut incomplete = None;
    if let UserLookup::Loaded(user) = state {
        let covered = user.is_covered_by(place);
        incomplete = user
            .complete_from()
            .max((!covered).then_some(context.now + 1));
        if user.scheduled().is_some() {
            let home = user.home().partition;
            changes.transaction.unschedule(home, id);
        }
    }
    erasures.add(place, incomplete);
    changes.transaction.erase(id, &erasures, context.now);
    (changes.anew, changes.write) = (false, false);
    // Events of other partitions that are newer than the erasure go too, since nobody can tell them from the older ones
    // any more. The hash begins anew and says so.
    let missing = erasures.incomplete().is_some_and(|from| from > place.time);
    *state = UserLookup::Missing(erasures);
    if let (true, Some(home)) = (missing, home(context, place)) {
        make(state, home, changes);
        changes.write = true;
    }
}

/// The home of users of a record's partition.
fn home(context: &Context<'_>, place: Place) -> Option<Home> {
    let own = context.assignment.get(place.partition)?;
    Some(Home {
        partition: place.partition,
        epoch: own.position().building.epoch,
    })
}

/// Makes a user without events of one without a state.
fn make(state: &mut UserLookup, home: Home, changes: &mut Changes<'_>) {
    if let UserLookup::Missing(erasures) = state {
        let user = User::new(home, std::mem::take(erasures));
        *state = UserLookup::Loaded(Box::new(user));
        changes.anew = true;
    }
}

/// Drops a user of another worker, who learns of its writes only from the WATCH that ends with this transaction.
fn forget_foreign(slot: &mut Slot, assignment: &Assignment) {
    let own = matches!(slot.user(), UserLookup::Loaded(user)
        if assignment.get(user.home().partition).is_some());
    if !own {
        slot.set(UserLookup::NotLoaded);
    }
}

#[cfg(test)]
mod tests;
