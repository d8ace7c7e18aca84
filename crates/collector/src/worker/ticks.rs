//! The times at which a worker looks at the clock, and sees to everything that is not a record.

use std::time::{Duration, Instant};

/// Pause between two ticks.
const TICK: Duration = Duration::from_millis(50);

/// Records between two looks at the clock. A poll that brings nothing is followed by a look too, so that even at 20
/// records a second, where none is, there is one every 400 ms.
const LOOK: u64 = 8;

/// The ticks of one worker.
pub(super) struct Ticks {
    last: Instant,
    /// Records that were polled since the last tick.
    records: u64,
}

impl Ticks {
    /// The first tick is due a pause after `now`.
    pub(super) fn from(now: Instant) -> Self {
        Self {
            last: now,
            records: 0,
        }
    }

    /// Notes a record. True if the clock is to be looked at.
    pub(super) fn record(&mut self) -> bool {
        self.records += 1;
        self.records.is_multiple_of(LOOK)
    }

    /// True if a tick is due.
    pub(super) fn due(&self, now: Instant) -> bool {
        now.duration_since(self.last) >= TICK
    }

    /// A tick comes at `now`. Returns the number of records since the last one.
    pub(super) fn tick(&mut self, now: Instant) -> u64 {
        self.last = now;
        std::mem::take(&mut self.records)
    }
}

#[cfg(test)]
mod tests {
    use super::super::POLL;
    use super::*;

    /// The longest time between two ticks of a worker that reads so many records a second for 10 s.
    fn longest_pause(rate: u32) -> Duration {
        let (start, each) = (Instant::now(), Duration::from_secs(1) / rate);
        let mut ticks = Ticks::from(start);
        let (mut now, mut next, mut last, mut longest) = (start, start, start, Duration::ZERO);
        while now < start + Duration::from_secs(10) {
            let brings_one = next <= now + POLL;
            now = if brings_one {
                next.max(now)
            } else {
                now + POLL
            };
            if brings_one {
                next += each;
                if !ticks.record() {
                    continue;
                }
            }
            if ticks.due(now) {
                ticks.tick(now);
                longest = longest.max(now - last);
                last = now;
            }
        }
        longest.max(now - last)
    }

    #[test]
    fn ticks_come_at_any_rate() {
        for rate in [1, 5, 10, 19, 20, 21, 30, 100, 1_000, 100_000] {
            let longest = longest_pause(rate);
            assert!(longest <= POLL * LOOK as u32, "{longest:?} at {rate}/s");
        }
    }
}
