//! Turns a batch into a transaction: inserts events into windows, evaluates features and packs the commands.
//!
//! It decides but does no I/O: the users are in memory, and the engine sends the transaction.

use crate::assignment::{Assignment, OwnedPartition};
use crate::batch::{Batch, BatchUser, Change, TRANSACTION_BYTES, UserChange};
use crate::relapse::{Relapse, relapsed};
use crate::store::{Position, StoreTransaction, UserWrite};
use crate::users::{Erasures, Home, Marks, Place, Slot, User, UserLookup, Users};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use tidemill_core::features::{Definitions, Evaluation, Limits};
use tidemill_core::record::timestamp::FUTURE_LIMIT_MS;

/// The configuration, the same for every batch.
pub(crate) struct Rules {
    pub(crate) definitions: Definitions,
    /// Limits on the events that a window keeps.
    pub(crate) limits: Limits,
}

/// The reason for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Records arrived: the hashes of their users get a new TTL.
    Records,
    /// Time passed: features are evaluated again, and no TTL is renewed.
    Decay,
}

/// The outcome of applying a part of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// End of the users applied, earlier than asked if the transaction is full.
    pub(crate) end: usize,
    /// The partitions of the users applied.
    pub(crate) touched: BTreeSet<i32>,
    /// The partitions between which users moved.
    pub(crate) mixed: BTreeSet<i32>,
    /// Partitions whose windows are being built, and whose erasures took events that they may not cover.
    pub(crate) early: BTreeSet<i32>,
    /// The number of users that moved.
    pub(crate) adopted: u64,
}

/// Applies batches; keeps the buffers that evaluations need.
#[derive(Default)]
pub(crate) struct Applier {
    evaluation: Evaluation,
    /// The entries that one user gets.
    entries: Vec<u8>,
}

/// The inputs of applying a batch.
pub(crate) struct Context<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) batch: &'a Batch,
    pub(crate) assignment: &'a Assignment,
    /// The positions of other workers' partitions from which users move.
    pub(crate) foreign: &'a BTreeMap<i32, Position>,
    pub(crate) occasion: Occasion,
    /// The wall clock (epoch ms).
    pub(crate) now: i64,
}

/// The effects of one user's changes.
struct Changes<'a> {
    transaction: &'a mut StoreTransaction,
    applied: &'a mut Applied,
    /// True if the user's state starts with them: its hash is deleted first.
    anew: bool,
    /// True if the state has to be written.
    write: bool,
}

impl Applier {
    /// Applies the changes of a part of the batch's users in memory, and packs the transaction.
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
                // They are dropped again: the WATCH on their keys ends with this transaction.
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

    /// Deletes a user without a state: left by an earlier building, or its window has expired. If retention may just
    /// have deleted the events, a hash that says so is written instead.
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
            // Its events may have been in another partition that has lost other records.
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
        // After a warm-up the hash is written for the first time, and so is its TTL.
        let first = user.scheduled() == Some(0);
        let mut renew = context.occasion == Occasion::Decay || first;
        if context.occasion == Occasion::Records {
            renew |= user.renew(now, definitions.ttl_ms());
        }
        let (mut due, mut evaluation, mut complete_from) = (None, None, None);
        let mut marks = user.marks();
        if own.is_warming() {
            // The hash follows when all events are applied: a score of 0 makes the user the first one due then.
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
        // A user that is due may be in the sorted set because of an earlier building, unknown to the state.
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

/// The time before which events of the user may be missing, and the time until which that matters (epoch ms).
fn incomplete_until(
    context: &Context<'_>,
    user: &User,
    own: &OwnedPartition,
) -> Option<(i64, i64)> {
    let times = [own.position().complete_from, user.complete_from()];
    // A lost event's own time may be later than Kafka's, within the limit.
    let from = times.into_iter().flatten().max()?;
    let from = from.saturating_add(FUTURE_LIMIT_MS);
    let until = from.saturating_add(context.rules.definitions.longest_ms());
    (until > context.now).then_some((from, until))
}

/// The Kafka time (epoch ms) before which a partition, of this or another worker, lost records.
fn complete_from(context: &Context<'_>, partition: i32) -> Option<i64> {
    let own = context
        .assignment
        .get(partition)
        .map(OwnedPartition::position);
    own.or_else(|| context.foreign.get(&partition))?
        .complete_from
}

/// True if the sweep has to write a user: it is due, or its hash may lack the mark that events are missing.
fn needs_look(context: &Context<'_>, user: &User, own: &OwnedPartition) -> bool {
    let incomplete = incomplete_until(context, user, own).is_some();
    let due = user.scheduled().is_some_and(|at| at <= context.now);
    // The hash may be marked already, but with an earlier time.
    due || incomplete
}

/// Erases a user, unless the state already knows this erasure.
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
    let mut missing = None;
    if let UserLookup::Loaded(user) = state {
        let before = user.home().partition;
        missing = user.complete_from();
        if !user.is_covered_by(place) {
            // Newer events of other partitions go too, since the state does not tell them from the older ones.
            missing = missing.max(Some(context.now + 1));
            let own = context.assignment.get(place.partition);
            if own.is_some_and(OwnedPartition::is_warming) {
                changes.applied.early.insert(place.partition);
            }
        }
        // The erasure covers the events before it.
        missing = missing.filter(|from| *from > place.time);
        if missing.is_some() {
            changes.applied.mixed.extend([before, place.partition]);
        }
        if user.scheduled().is_some() {
            changes.transaction.unschedule(before, id);
        }
    }
    erasures.add(place);
    changes.transaction.erase(id, &erasures, context.now);
    (changes.anew, changes.write) = (false, false);
    *state = UserLookup::Missing(erasures);
    // A new hash tells of what is missing.
    let (Some(_), Some(home)) = (missing, home(context, place)) else {
        return;
    };
    make(state, home, changes);
    if let UserLookup::Loaded(user) = state {
        user.lack(missing);
    }
    changes.write = true;
}

/// The home of users whose records lie in this partition.
fn home(context: &Context<'_>, place: Place) -> Option<Home> {
    let own = context.assignment.get(place.partition)?;
    Some(Home {
        partition: place.partition,
        epoch: own.position().building.epoch,
    })
}

/// Gives a user without a state one without events.
fn make(state: &mut UserLookup, home: Home, changes: &mut Changes<'_>) {
    if let UserLookup::Missing(erasures) = state {
        let user = User::new(home, std::mem::take(erasures));
        *state = UserLookup::Loaded(Box::new(user));
        changes.anew = true;
    }
}

/// Drops a user of another worker: we notice that worker's writes only through the WATCH that ends with this
/// transaction.
fn forget_foreign(slot: &mut Slot, assignment: &Assignment) {
    let own = matches!(slot.user(), UserLookup::Loaded(user)
        if assignment.get(user.home().partition).is_some());
    if !own {
        slot.set(UserLookup::NotLoaded);
    }
}

#[cfg(test)]
mod tests;
