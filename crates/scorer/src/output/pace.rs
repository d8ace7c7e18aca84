//! The pace of a worker's transactions: no more than a share of its time is spent on them, by what they take. Pure.
//!
//! Committing without a pause saturates whatever broker it meets: transactions of a few records each, as many as the
//! broker can take, and waves of backlog once it has something else to do. A pause as long as the transaction itself
//! halves their number and doubles what each holds.

use std::time::{Duration, Instant};

/// Longest pause: a broker that takes seconds is no reason to hold up payments for longer.
const LONGEST: Duration = Duration::from_millis(250);

/// The pace of one worker.
#[derive(Debug)]
pub struct Pace {
    /// The share of its time, above 0 and up to 1.
    share: f64,
    /// The usual time of a transaction; `None` before the first one.
    usual: Option<Duration>,
    /// Earliest beginning of the next transaction.
    next: Option<Instant>,
}

impl Pace {
    /// A pace that gives transactions this share of the time.
    pub fn new(share: f64) -> Self {
        Pace {
            share,
            usual: None,
            next: None,
        }
    }

    /// Notes a transaction that took from `began` to `ended`.
    pub fn took(&mut self, began: Instant, ended: Instant) {
        let took = ended - began;
        // A transaction that is held up once has held up payments enough: it counts as twice the usual.
        let usual = match self.usual {
            Some(usual) => (usual * 3 + took.min(usual * 2)) / 4,
            None => took,
        };
        self.usual = Some(usual);
        let pause = took.min(usual).mul_f64(1.0 / self.share - 1.0);
        self.next = Some(ended + pause.min(LONGEST));
    }

    /// Time that is left at `now` until the next one may begin.
    pub fn left(&self, now: Instant) -> Duration {
        let next = self.next.unwrap_or(now);
        next.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    /// The pause after a transaction.
    fn pause(pace: &mut Pace, took: Duration) -> Duration {
        let began = Instant::now();
        let ended = began + took;
        pace.took(began, ended);
        pace.left(ended)
    }

    #[test]
    fn transactions_have_their_share_of_the_time() {
        for (share, took, expected) in [
            (1.0, 20, 0),
            (0.5, 5, 5),
            (0.5, 40, 40),
            (0.25, 10, 30),
            (0.05, 10, 190),
            (0.5, 9_000, 250),
        ] {
            let mut pace = Pace::new(share);
            let now = Instant::now();
            assert_eq!(pace.left(now), Duration::ZERO, "the first waits not");
            for _ in 0..5 {
                // To a microsecond, as shares are fractions.
                let left = pause(&mut pace, ms(took));
                let off = left.abs_diff(ms(expected));
                assert!(off < Duration::from_micros(1), "{share}: {left:?}");
            }
            let later = Instant::now() + ms(60_000);
            assert_eq!(pace.left(later), Duration::ZERO, "idle time counts");
        }
    }

    #[test]
    fn one_that_is_held_up_adds_little_and_a_slow_broker_all() {
        let mut pace = Pace::new(0.5);
        assert_eq!(pause(&mut pace, ms(8)), ms(8));
        assert_eq!(pause(&mut pace, ms(200)), ms(10));
        assert_eq!(pause(&mut pace, ms(2)), ms(2));
        let slow: Vec<Duration> = (0..20).map(|_| pause(&mut pace, ms(200))).collect();
        assert!(slow.is_sorted() && slow.last() > Some(&ms(190)), "{slow:?}");
    }
}
