//! Turns a batch into a transaction: inserts events into windows, evaluates features and packs the commands.
//!
//! It decides but does no I/O: the users are in memory, and the engine sends the transaction.

use crate::assignment::{Assignment, OwnedPartition};
use crate::batch::{Batch, BatchUser, Change, TRANSACTION_BYTES, UserChange};
use crate::relapse::{Relapse, relapsed};
use crate::store::{HashWrite, Position, StoreTransaction};
use crate::users::{Erasures, Home, Marks, Slot, User, UserLookup, Users};
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

/// Time (ms) for which the hash of a user is left as it is, after the user came from another worker's partition whose
/// stored windows lack what its hashes show: that worker applies the rest meanwhile.
const SETTLING_MS: i64 = 2_000;

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
    /// The partitions that users left, for another one or by an erasure.
    pub(crate) left: BTreeSet<i32>,
    /// Partitions whose windows are being built, and whose erasures took events that they may not cover.
    pub(crate) early: BTreeSet<i32>,
    /// The number of users that moved.
    pub(crate) adopted: u64,
}

/// Applies batches; keeps the buffers that evaluations need.
#[derive(Default)]
pub(crate) struct Applier {
    evaluation: Evaluation,
}

/// The relation of a user in memory to its stored window, once a batch is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The batch has not changed it.
    Same,
    /// The user is newer than its stored window.
    Changed,
    /// The transaction stores the window, or deletes it.
    Stored,
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
    /// True if they have changed the state.
    write: bool,
    /// True if the window must not wait.
    at_once: bool,
    /// True if the hash may not show all of them yet.
    unshown: bool,
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
        for index in part.clone() {
            let user = &all[index];
            if transaction.bytes() >= TRANSACTION_BYTES {
                // They are dropped again: the WATCH on their keys ends with this transaction.
                for user in &all[index..part.end] {
                    forget_foreign(users.slot(user.slot()), context.assignment);
                }
                applied.end = index;
                return applied;
            }
            applied.touched.insert(user.partition());
            let slot = users.slot(user.slot());
            let mut fate = self.user(context, user, slot, transaction, &mut applied);
            forget_foreign(slot, context.assignment);
            if !matches!(slot.user(), UserLookup::Loaded(_)) {
                fate = Fate::Stored;
            }
            match fate {
                Fate::Same => {}
                Fate::Changed => users.changed(user.slot()),
                Fate::Stored => users.saved(user.slot()),
            }
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
    ) -> Fate {
        let due = context.occasion == Occasion::Decay;
        let mut changes = Changes {
            transaction,
            applied,
            anew: false,
            write: false,
            at_once: false,
            unshown: false,
        };
        let mut checked = false;
        for change in context.batch.changes(user) {
            match change.change {
                Change::Event(begin) => event(context, change, begin, slot, &mut changes),
                Change::Erasure => erase(context, change, slot, &mut changes),
                Change::Check => checked = true,
            }
        }
        let (id, state) = slot.parts();
        let own = match state {
            UserLookup::Loaded(state) => context.assignment.get(state.home().partition),
            _ => None,
        };
        match (state, own) {
            (UserLookup::Loaded(state), Some(own)) if changes.write => {
                self.write(context, (id, state.as_mut()), own, changes)
            }
            (UserLookup::Loaded(state), Some(own))
                if due && state.home().partition == user.partition() =>
            {
                match !checked || needs_look(context, state, own) {
                    true => self.write(context, (id, state.as_mut()), own, changes),
                    false => Fate::Same,
                }
            }
            (UserLookup::Loaded(_), _) if due => {
                changes.transaction.unschedule(user.partition(), id);
                Fate::Same
            }
            (state, _) if due => {
                self.left_behind(context, user.partition(), id, state, changes);
                Fate::Stored
            }
            _ => Fate::Same,
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
        mut changes: Changes<'_>,
    ) {
        changes.transaction.delete(id);
        changes.transaction.unschedule(partition, id);
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
            changes.anew = true;
            self.write(context, (id, &mut user), own, changes);
            *state = UserLookup::Loaded(Box::new(user));
        }
    }

    /// Writes a user's hash, and its window if that must not wait.
    fn write(
        &mut self,
        context: &Context<'_>,
        (id, user): (&str, &mut User),
        own: &OwnedPartition,
        changes: Changes<'_>,
    ) -> Fate {
        let (definitions, now) = (&context.rules.definitions, context.now);
        let (home, records) = (user.home().partition, context.occasion == Occasion::Records);
        let mixed = own.position().mixed || changes.applied.mixed.contains(&home);
        let held = own.is_warming() || user.homes().any(|home| is_held(context, home));
        if held && !records {
            return Fate::Same;
        }
        // The hash shows what has changed, and is right until the user is due.
        let shown = held && !own.is_warming() && !changes.unshown && !mixed;
        // After a warm-up the hash is written for the first time, and so is its TTL.
        let first = user.scheduled() == Some(0);
        let mut renew = !records || first;
        if records && !shown {
            renew |= user.renew(now, definitions.ttl_ms());
        }
        let (mut due, mut evaluation, mut complete_from) = (None, None, None);
        let (before, mut marks) = (user.marks(), user.marks());
        if shown {
            due = user.scheduled();
        } else if held {
            // The hash follows when all events are applied: a score of 0 makes the user the first one due then.
            due = Some(0);
        } else if user.settles_at() > now {
            // Who is due for the first time stays so.
            due = Some(if first { 0 } else { user.settles_at() });
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
        let scheduled = user.schedule(due);
        // A user that is due may be in the sorted set because of an earlier building, unknown to the state. Whose hash
        // waits was perhaps visited since the window was stored that says it is due at once.
        let waits = held && !shown && !own.is_warming();
        if scheduled || waits || !records {
            match due {
                Some(at) => changes.transaction.schedule(home, id, at),
                None => changes.transaction.unschedule(home, id),
            }
        }
        if let Some(evaluation) = evaluation {
            changes.transaction.hash(HashWrite {
                id,
                evaluation,
                complete_from,
                stale_marks,
                expires_at: renew.then_some(user.expires_at()),
                anew: changes.anew || first,
            });
        }
        // Other workers learn of a user by its window. What a hash is marked with is in no record.
        let new = !user.is_stored() && !relapsed(Relapse::NewUnsaved);
        if changes.at_once || mixed || new || marks != before {
            changes.transaction.window(definitions, id, user);
            return Fate::Stored;
        }
        match changes.write || scheduled {
            true => Fate::Changed,
            false => Fate::Same,
        }
    }
}

/// Inserts an event into the window of its user, unless the window holds it.
fn event(
    context: &Context<'_>,
    change: UserChange,
    begin: u32,
    slot: &mut Slot,
    changes: &mut Changes<'_>,
) {
    let place = change.place;
    let Some((home, own)) = home(context, place.partition) else {
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
    if change.offset < user.reached(home) && !relapsed(Relapse::AppliedTwice) {
        return;
    }
    if user.home().partition != home.partition {
        changes.applied.adopted += 1;
        let before = user.home();
        let moved = [before.partition, home.partition];
        changes.applied.mixed.extend(moved);
        changes.applied.left.insert(before.partition);
        if lacks_shown(context, user) {
            user.settle_at(context.now + SETTLING_MS);
        }
        // The hash may be one of an earlier building: it was not written yet.
        changes.anew |= user.scheduled() == Some(0);
        let complete_from = complete_from(context, before.partition);
        if let Some(before) = user.adopt(home, complete_from) {
            changes.transaction.unschedule(before.partition, id);
        }
        changes.at_once = true;
    }
    let Rules {
        definitions,
        limits,
    } = context.rules;
    let entry = context.batch.entry(begin, definitions.entry_bytes());
    user.insert(definitions, limits, entry, place.time);
    user.reach(change.offset + 1);
    changes.unshown |= !own.shows(change.offset);
    changes.write = true;
}

/// True if hashes show records of a partition that its windows do not hold once the batch is applied.
fn is_held(context: &Context<'_>, home: Home) -> bool {
    context.assignment.get(home.partition).is_some_and(|own| {
        let progress = context.batch.progress().get(&home.partition);
        let end = progress.map_or(own.applied().next, |progress| progress.next);
        own.holds(end)
    })
}

/// True if the hash of a user of another worker may show records that its stored window does not hold.
fn lacks_shown(context: &Context<'_>, user: &User) -> bool {
    let home = user.home();
    let position = context.foreign.get(&home.partition);
    position.is_some_and(|position| {
        let shown = position.warm_until.is_none();
        shown && position.until() > position.offset.max(user.reached(home))
    })
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
fn erase(context: &Context<'_>, change: UserChange, slot: &mut Slot, changes: &mut Changes<'_>) {
    let place = change.place;
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
        changes.applied.left.insert(before);
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
    let (Some(_), Some((home, _))) = (missing, home(context, place.partition)) else {
        return;
    };
    make(state, home, changes);
    if let UserLookup::Loaded(user) = state {
        user.lack(missing);
        user.reach(change.offset + 1);
    }
    changes.write = true;
}

/// The home of users whose records lie in this partition, and the partition.
fn home<'a>(context: &Context<'a>, partition: i32) -> Option<(Home, &'a OwnedPartition)> {
    let own = context.assignment.get(partition)?;
    let epoch = own.position().building.epoch;
    Some((Home { partition, epoch }, own))
}

/// Gives a user without a state one without events.
fn make(state: &mut UserLookup, home: Home, changes: &mut Changes<'_>) {
    if let UserLookup::Missing(erasures) = state {
        let user = User::new(home, std::mem::take(erasures));
        *state = UserLookup::Loaded(Box::new(user));
        (changes.anew, changes.unshown) = (true, true);
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
