//! The two batches of a worker, each in one state: one is collected and scored while the one before it is published. Pure.

use std::time::Instant;

use crate::output::delivery::Outcome;

/// The state of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    /// The worker takes records into it.
    Collecting,
    /// Its rows have scores; it waits until the batch before it has ended.
    Scored,
    /// The publishing thread writes its records and positions.
    Publishing {
        since: Instant,
        /// The batch before it was undone.
        again: bool,
    },
    /// Its records and positions are in the log.
    Committed,
    /// Nothing of it counts: this worker reads its records again, or another member does.
    Undone,
}

/// Something that happens to a batch.
#[derive(Clone, Copy, Debug)]
enum Event {
    Scored,
    HandedOver { now: Instant, again: bool },
    Ended(Outcome),
    Dropped,
}

impl State {
    /// The state after an event. Events that do not fit the state change nothing.
    fn step(self, event: Event) -> State {
        match (self, event) {
            (State::Collecting, Event::Scored) => State::Scored,
            (State::Scored, Event::HandedOver { now, again }) => {
                State::Publishing { since: now, again }
            }
            (State::Publishing { .. }, Event::Ended(Outcome::Committed)) => State::Committed,
            (State::Publishing { .. }, Event::Ended(Outcome::Undone)) => State::Undone,
            (State::Collecting | State::Scored, Event::Dropped) => State::Undone,
            (state, _) => state,
        }
    }
}

/// The states of a worker's batches.
#[derive(Debug)]
pub(super) struct Batches {
    /// The batch that is collected and scored.
    own: State,
    /// The batch before it; `None` before the first one.
    ahead: Option<State>,
}

impl Batches {
    /// A batch is collected, and none was published before it.
    pub(super) fn new() -> Self {
        Batches {
            own: State::Collecting,
            ahead: None,
        }
    }

    /// The state of the batch that is collected and scored.
    pub(super) fn own(&self) -> State {
        self.own
    }

    /// The time since which the batch ahead is published; `None` while none is.
    pub(super) fn publishing(&self) -> Option<Instant> {
        match self.ahead {
            Some(State::Publishing { since, .. }) => Some(since),
            _ => None,
        }
    }

    /// True from the moment a batch could not be written until a later one is committed.
    pub(super) fn failing(&self) -> bool {
        matches!(
            self.ahead,
            Some(State::Undone | State::Publishing { again: true, .. })
        )
    }

    /// The own batch has its scores.
    pub(super) fn scored(&mut self) {
        self.own = self.own.step(Event::Scored);
    }

    /// The own batch goes to the publishing thread, once it is scored; a new one begins.
    pub(super) fn handed_over(&mut self, now: Instant) {
        let again = self.failing();
        let next = self.own.step(Event::HandedOver { now, again });
        if next != self.own {
            self.ahead = Some(next);
            self.own = State::Collecting;
        }
    }

    /// The batch ahead has ended. If it is undone, so is the own one: its records come after those that are read again.
    pub(super) fn ended(&mut self, outcome: Outcome) {
        self.ahead = self.ahead.map(|ahead| ahead.step(Event::Ended(outcome)));
        if self.ahead == Some(State::Undone) {
            self.drop_own();
        }
    }

    /// The own batch is not published.
    pub(super) fn drop_own(&mut self) {
        self.own = self.own.step(Event::Dropped);
    }

    /// A new batch begins in the place of one that is undone.
    pub(super) fn begin_again(&mut self) {
        if self.own == State::Undone {
            self.own = State::Collecting;
        }
    }

    /// Partitions were revoked: the records of an undone batch may be another member's.
    pub(super) fn revoked(&mut self) {
        self.ahead = self.ahead.filter(|ahead| *ahead != State::Undone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_in_every_state() {
        use Outcome::{Committed, Undone};
        let now = Instant::now();
        let publishing = |again| State::Publishing { since: now, again };
        let states = [
            State::Collecting,
            State::Scored,
            publishing(true),
            State::Committed,
            State::Undone,
        ];
        let [collecting, scored, written, committed, undone] = states;
        let again = false;
        // The expected states, in the order of `states`.
        let table = [
            (Event::Scored, [scored, scored, written, committed, undone]),
            (
                Event::HandedOver { now, again },
                [collecting, publishing(again), written, committed, undone],
            ),
            (
                Event::Ended(Committed),
                [collecting, scored, committed, committed, undone],
            ),
            (
                Event::Ended(Undone),
                [collecting, scored, undone, committed, undone],
            ),
            (Event::Dropped, [undone, undone, written, committed, undone]),
        ];
        for (event, expected) in table {
            assert_eq!(states.map(|state| state.step(event)), expected, "{event:?}");
        }
    }

    /// Batches of which one is being published.
    fn publishing(batches: &mut Batches) {
        batches.scored();
        batches.handed_over(Instant::now());
        assert_eq!(batches.own(), State::Collecting);
        assert!(batches.publishing().is_some());
    }

    #[test]
    fn what_follows_an_undone_batch_is_undone_with_it() {
        for scored in [false, true] {
            let mut batches = Batches::new();
            publishing(&mut batches);
            if scored {
                batches.scored();
            }
            batches.ended(Outcome::Undone);
            batches.handed_over(Instant::now());
            assert_eq!(batches.own(), State::Undone, "it is never published");
            assert_eq!(batches.publishing(), None);
            batches.begin_again();
            assert_eq!(batches.own(), State::Collecting);
        }
    }

    #[test]
    fn a_failure_lasts_until_a_later_batch_is_committed() {
        let mut batches = Batches::new();
        assert!(!batches.failing());
        publishing(&mut batches);
        assert!(!batches.failing());
        for _ in 0..3 {
            batches.ended(Outcome::Undone);
            assert!(batches.failing());
            batches.begin_again();
            publishing(&mut batches);
            assert!(batches.failing(), "it is not committed yet");
        }
        batches.revoked();
        assert!(batches.failing());
        batches.ended(Outcome::Committed);
        assert!(!batches.failing());
        publishing(&mut batches);
        batches.ended(Outcome::Undone);
        batches.revoked();
        assert!(!batches.failing(), "its records may be another's");
    }

    #[test]
    fn a_batch_that_is_not_scored_is_not_handed_over() {
        let mut batches = Batches::new();
        batches.handed_over(Instant::now());
        assert_eq!(
            (batches.own(), batches.publishing()),
            (State::Collecting, None)
        );
        batches.scored();
        batches.drop_own();
        batches.handed_over(Instant::now());
        assert_eq!((batches.own(), batches.publishing()), (State::Undone, None));
    }
}
