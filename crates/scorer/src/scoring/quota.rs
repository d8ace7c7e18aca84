//! The number of rows that a batch may have, so that scoring it takes a bounded time whatever the model. Pure.
//!
//! A worker that scores does not poll: a batch that takes a minute costs it its partitions, is read again, and takes a
//! minute again.

use std::time::Duration;

/// Most rows of one batch.
const MOST: usize = 40_000;

/// Rows of a model's first batch, of which nobody knows what it takes.
const FIRST: usize = 64;

/// Time that scoring a batch may take.
const SCORING: Duration = Duration::from_millis(500);

/// The quota of one model, by what its batches took.
#[derive(Debug)]
pub struct Quota(usize);

impl Default for Quota {
    fn default() -> Self {
        Quota(FIRST)
    }
}

impl Quota {
    /// Most rows of the next batch.
    pub fn rows(&self) -> usize {
        self.0
    }

    /// Notes that scoring so many rows took so long.
    pub fn took(&mut self, rows: usize, time: Duration) {
        if rows == 0 {
            return;
        }
        let fitting = SCORING.as_secs_f64() / time.as_secs_f64() * rows as f64;
        let fitting = (fitting as usize).clamp(1, MOST);
        // A small batch says little about a large one: what went well stays allowed.
        self.0 = if time > SCORING {
            fitting
        } else {
            fitting.max(self.0)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of the last batch under overload, and the longest batch, of a model that takes `us` a row.
    fn overload(quota: &mut Quota, us: u64) -> (usize, Duration) {
        let mut longest = Duration::ZERO;
        for _ in 0..10 {
            let rows = quota.rows();
            let time = Duration::from_micros(100 + us * rows as u64);
            longest = longest.max(time);
            quota.took(rows, time);
        }
        (quota.rows(), longest)
    }

    #[test]
    fn a_batch_of_any_model_ends_soon() {
        for (us, least, most) in [
            (1, MOST, MOST),
            (50, 9_900, MOST),
            (6_000, 80, 84),
            (400_000, 1, 1),
        ] {
            let (rows, longest) = overload(&mut Quota::default(), us);
            assert!((least..=most).contains(&rows), "{us} us: {rows}");
            assert!(longest < Duration::from_secs(30), "{us} us: {longest:?}");
        }
    }

    #[test]
    fn slow_batches_lower_it_at_once_and_small_ones_never() {
        let mut quota = Quota::default();
        overload(&mut quota, 1);
        quota.took(1, Duration::from_millis(1));
        assert_eq!(quota.rows(), MOST);
        quota.took(MOST, Duration::from_secs(5));
        assert_eq!(quota.rows(), MOST / 10);
        quota.took(0, Duration::ZERO);
        quota.took(5, Duration::ZERO);
        assert_eq!(quota.rows(), MOST);
    }
}
