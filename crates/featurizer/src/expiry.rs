//! Features of silent users: evaluated again when an event leaves a window, and swept after a rebuild.

use crate::assignment::{Assignment, OwnedPartition, Sweep};
use crate::batch::{Batch, Change, TRANSACTION_USERS};
use crate::engine::{Engine, Occasion};
use crate::setback::Setback;
use crate::store::Door;
use crate::users::Place;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Pause between two turns: short enough that a hash is rewritten within a second.
const EVERY: Duration = Duration::from_millis(200);
/// Pause when more users are due than one transaction takes; new events go first meanwhile. 10,000 users a second.
const BUSY: Duration = Duration::from_millis(40);
/// Missed turns caught up per call.
const TURNS: u128 = 25;
/// Pause between two counts of the backlog, and between two checks of the positions for a worker without records.
const COUNT: Duration = Duration::from_secs(1);

/// The time of the next turn, and the backlog of the last one.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    next: Option<Instant>,
    /// Partitions that had more due users than the last turn took.
    pressing: BTreeSet<i32>,
    counted: Option<Instant>,
    backlog: u64,
}

impl Expiry {
    /// True if more users are due than the last turn took.
    pub(crate) fn is_pressing(&self) -> bool {
        !self.pressing.is_empty()
    }

    /// The number of users that were due at the last count.
    pub(crate) fn backlog(&self) -> u64 {
        self.backlog
    }

    /// Forgets the last turn's backlog.
    pub(crate) fn go_back(&mut self) {
        self.pressing.clear();
        self.backlog = 0;
    }

    /// The number of turns that are due now; `idle` says that nothing else is to be done.
    fn turns(&self, now: Instant, idle: bool) -> u128 {
        let Some(next) = self.next else {
            return 1;
        };
        if now < next {
            return u128::from(idle && self.is_pressing());
        }
        // A long batch takes the time of many turns.
        let missed = (now - next).as_millis() / BUSY.as_millis();
        1 + missed.min(TURNS)
    }

    /// The number of users to ask for in each partition: those that pressed last share the room of one transaction.
    fn limits(&self, partitions: &[i32]) -> Vec<(i32, usize)> {
        let pressing = partitions.iter().filter(|id| self.pressing.contains(id));
        let pressing = pressing.count();
        let others = (partitions.len() - pressing).max(1);
        let limit = |id: &i32| match self.pressing.contains(id) {
            true => TRANSACTION_USERS.div_ceil(pressing),
            // The others have few due users now, but may get more.
            false if pressing > 0 => TRANSACTION_USERS.div_ceil(8 * others),
            false => TRANSACTION_USERS.div_ceil(others),
        };
        partitions.iter().map(|id| (*id, limit(id))).collect()
    }

    /// Evaluates users that are due, if a turn is due. The batch must be empty.
    pub(crate) fn run<D: Door>(
        &mut self,
        now: Instant,
        idle: bool,
        (batch, assignment, engine): (&mut Batch, &mut Assignment, &mut Engine<D>),
    ) -> Result<(), Setback> {
        if assignment.owned().next().is_none() {
            self.go_back();
            return Ok(());
        }
        let turns = self.turns(now, idle);
        for _ in 0..turns {
            engine.settle(assignment)?;
            self.turn(now, batch, assignment, engine)?;
            engine.commit(batch, assignment, Occasion::Decay)?;
            if !self.is_pressing() {
                break;
            }
        }
        if turns > 0 {
            self.next = Some(now + if self.is_pressing() { BUSY } else { EVERY });
        }
        Ok(())
    }

    /// Adds users that are due to the batch, and then those that the sweep visits.
    fn turn<D: Door>(
        &mut self,
        now: Instant,
        batch: &mut Batch,
        assignment: &mut Assignment,
        engine: &mut Engine<D>,
    ) -> Result<(), Setback> {
        let time = engine.now();
        let writes = |own: &OwnedPartition| !own.is_warming() && !own.is_behind();
        let partitions = assignment.owned().filter(|(_, own)| writes(own));
        let partitions: Vec<i32> = partitions.map(|(id, _)| id).collect();
        if self.counted.is_none_or(|before| now - before > COUNT) {
            self.counted = Some(now);
            engine.verify()?;
            self.backlog = engine.lease().backlog(&partitions, time)?;
        }
        let limits = self.limits(&partitions);
        let due = engine.lease().due(&limits, time)?;
        self.pressing.clear();
        for ((id, limit), users) in limits.into_iter().zip(due) {
            for user in &users {
                engine.touch(batch, user, id);
            }
            if users.len() >= limit {
                self.pressing.insert(id);
            } else if let Some(own) = assignment.get_mut(id)
                && sweep(id, own, batch, engine)?.is_some()
            {
                self.pressing.insert(id);
            }
        }
        Ok(())
    }
}

/// Adds the next page of a partition's sweep to the batch, and returns the state after it; `None` if all are done.
fn sweep<D: Door>(
    id: i32,
    own: &mut OwnedPartition,
    batch: &mut Batch,
    engine: &mut Engine<D>,
) -> Result<Option<Sweep>, Setback> {
    let cursor = match own.sweep() {
        Some(Sweep::Page(cursor)) if own.is_unswept() => cursor,
        Some(Sweep::Page(_) | Sweep::LastPage) => {
            if own.is_unswept() {
                // Stored without a record too: `rebuild --wait` reads there that every hash is written.
                batch.progressed(id, own.applied());
            }
            own.swept(Sweep::Done);
            return Ok(None);
        }
        Some(Sweep::Done) | None => return Ok(None),
    };
    let page = engine.lease().scheduled(id, cursor, TRANSACTION_USERS)?;
    for user in &page.items {
        let place = Place {
            partition: id,
            incarnation: 0,
            offset: 0,
            time: i64::MIN,
        };
        let user = engine.touch(batch, user, id);
        batch.change(user, place, 0, Change::Check);
    }
    let next = match page.next {
        0 => Sweep::LastPage,
        next => Sweep::Page(next),
    };
    own.swept(next);
    Ok(Some(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_caught_up_but_not_all_at_once() {
        let start = Instant::now();
        let mut expiry = Expiry::default();
        assert_eq!(expiry.turns(start, false), 1);
        expiry.next = Some(start + EVERY);
        assert_eq!(
            (expiry.turns(start, true), expiry.turns(start, false)),
            (0, 0)
        );
        for (late, turns) in [(0, 1), (39, 1), (40, 2), (400, 11), (60_000, 26)] {
            let now = start + EVERY + Duration::from_millis(late);
            assert_eq!(expiry.turns(now, false), turns, "{late} ms late");
        }
        expiry.pressing.insert(3);
        assert_eq!(
            (expiry.turns(start, true), expiry.turns(start, false)),
            (1, 0)
        );
    }

    #[test]
    fn the_partitions_that_press_share_what_a_transaction_takes() {
        let mut expiry = Expiry::default();
        assert_eq!(expiry.limits(&[]), []);
        let all = TRANSACTION_USERS;
        let (half, third) = (all.div_ceil(2), all.div_ceil(3));
        assert_eq!(expiry.limits(&[0, 1]), [(0, half), (1, half)]);
        expiry.pressing.insert(1);
        let few = all.div_ceil(16);
        assert_eq!(expiry.limits(&[0, 1, 2]), [(0, few), (1, all), (2, few)]);
        expiry.pressing.extend([0, 2]);
        assert_eq!(
            expiry.limits(&[0, 1, 2]),
            [(0, third), (1, third), (2, third)]
        );
    }
}
