//! Positions that are not committed to the group yet.

use super::StoredPosition;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Shortest pause between two commits. The brokers take milliseconds for each, and heartbeats queue behind them: a
/// commit for each of many small batches would cost the membership.
const BETWEEN: Duration = Duration::from_millis(200);

/// Positions to commit.
#[derive(Default)]
pub(super) struct Hints(Mutex<State>);

#[derive(Default)]
struct State {
    untold: BTreeMap<i32, StoredPosition<u64>>,
    told: Option<Instant>,
}

impl Hints {
    /// Notes positions.
    pub(super) fn add<P: Into<StoredPosition<u64>> + Copy>(&self, positions: &[(i32, P)]) {
        let positions = positions.iter();
        let positions = positions.map(|(partition, position)| (*partition, (*position).into()));
        self.state().untold.extend(positions);
    }

    /// The positions to commit, once the pause is over. The clock decides, not the previous answer: the client reports
    /// only answers that are errors.
    pub(super) fn due(&self) -> Vec<(i32, StoredPosition<u64>)> {
        let mut state = self.state();
        // Most polls find nothing to tell, and need no clock.
        let early = |told: Instant| told.elapsed() < BETWEEN;
        if state.untold.is_empty() || state.told.is_some_and(early) {
            return Vec::new();
        }
        state.take()
    }

    /// The positions to commit, whatever the pause.
    pub(super) fn all(&self) -> Vec<(i32, StoredPosition<u64>)> {
        self.state().take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Vec<(i32, StoredPosition<u64>)> {
        if !self.untold.is_empty() {
            self.told = Some(Instant::now());
        }
        std::mem::take(&mut self.untold).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_positions_are_told_now_and_then_and_once() {
        let hints = Hints::default();
        assert_eq!(hints.due(), []);
        hints.add(&[(0, 1), (1, 1)]);
        hints.add(&[(0, 2)]);
        assert_eq!(hints.due(), [(0, 2.into()), (1, 1.into())]);
        hints.add(&[(1, 3)]);
        assert_eq!(hints.due(), [], "too soon");
        assert_eq!(hints.all(), [(1, 3.into())], "at the end in any case");
        assert_eq!(hints.all(), []);
    }
}
