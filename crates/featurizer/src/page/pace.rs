//! The limit on look-ups: Redis answers them between the writes of the workers, so that few may come.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Look-ups in each [`TIME`].
const MOST: usize = 4;
const TIME: Duration = Duration::from_secs(1);

/// The times of the last look-ups.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<Instant>);

impl Pace {
    /// True if a look-up may be made at `now`, which then counts.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        let is_over = |then: &Instant| now.saturating_duration_since(*then) >= TIME;
        while self.0.front().is_some_and(is_over) {
            self.0.pop_front();
        }
        let admits = self.0.len() < MOST;
        if admits {
            self.0.push_back(now);
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_a_second() {
        let mut pace = Pace::default();
        let begun = Instant::now();
        let mut at = |ms| pace.admits(begun + Duration::from_millis(ms));
        assert_eq!([0, 300, 300, 600].map(&mut at), [true; 4]);
        assert_eq!([600, 999].map(&mut at), [false; 2]);
        // The first has passed; refused ones do not count.
        assert_eq!([1_000, 1_001].map(&mut at), [true, false]);
        assert_eq!([1_300, 1_300, 1_301].map(&mut at), [true, true, false]);
    }
}
