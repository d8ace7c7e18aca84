//! Partitions that may have stopped because a position is out of range: librdkafka reports it once, without the
//! partition.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Pause between two reminders. The worker asks the brokers before it answers, and may not reach them.
const AGAIN: Duration = Duration::from_secs(1);

/// Partitions that may have stopped, until they are started, sought or released.
#[derive(Default)]
pub(super) struct Stopped {
    /// True if there are any: as a rule, a poll reads no more than this.
    any: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    partitions: BTreeSet<i32>,
    told: Option<Instant>,
}

impl Stopped {
    /// Notes that one of these has stopped, and that the worker learns it now.
    pub(super) fn add(&self, partitions: impl Iterator<Item = i32>, now: Instant) {
        let mut state = self.state();
        state.partitions.extend(partitions);
        state.told = Some(now);
        self.any
            .store(!state.partitions.is_empty(), Ordering::Relaxed);
    }

    /// Removes partitions that were started, sought or released.
    pub(super) fn remove(&self, partitions: impl Iterator<Item = i32>) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state();
        for partition in partitions {
            state.partitions.remove(&partition);
        }
        self.any
            .store(!state.partitions.is_empty(), Ordering::Relaxed);
    }

    /// True if it is time to remind the worker.
    pub(super) fn due(&self) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let mut state = self.state();
        let now = Instant::now();
        let due = state.told.is_none_or(|told| now >= told + AGAIN);
        if due {
            state.told = Some(now);
        }
        due
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_is_reminded_until_each_partition_is_answered_for() {
        let stopped = Stopped::default();
        assert!(!stopped.due(), "nothing has stopped");
        let now = Instant::now();
        stopped.add([0, 1].into_iter(), now);
        assert!(!stopped.due(), "told just now");
        let before = now.checked_sub(AGAIN).unwrap();
        stopped.add([0, 1].into_iter(), before);
        assert!(stopped.due());
        assert!(!stopped.due(), "told just now");
        stopped.add([0, 1].into_iter(), before);
        stopped.remove([0].into_iter());
        assert!(stopped.due(), "partition 1 may stand still");
        stopped.add([0, 1].into_iter(), before);
        stopped.remove([0, 1].into_iter());
        assert!(!stopped.due());
    }
}
