//! The partitions of a worker that are still to be started, and when that is tried.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The pause after a failed try.
const AGAIN: Duration = Duration::from_secs(1);

/// Partitions that wait for broker or store to say where they go on.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    waiting: BTreeSet<i32>,
    /// Those that the consumer reads already, so that they are sought and not assigned.
    assigned: BTreeSet<i32>,
    again_at: Option<Instant>,
}

impl Pending {
    /// These are to be started where their files end.
    pub(crate) fn add(&mut self, partitions: impl IntoIterator<Item = i32>) {
        self.waiting.extend(partitions);
        self.again_at = None;
    }

    /// These are no longer the worker's.
    pub(crate) fn remove(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.waiting.remove(partition);
            self.assigned.remove(partition);
        }
    }

    /// Those to be started now.
    pub(crate) fn due(&self, now: Instant) -> Vec<i32> {
        match self.again_at {
            Some(time) if now < time => Vec::new(),
            _ => self.waiting.iter().copied().collect(),
        }
    }

    /// The try failed; another follows.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.again_at = Some(now + AGAIN);
    }

    /// The consumer reads this partition already.
    pub(crate) fn is_assigned(&self, partition: i32) -> bool {
        self.assigned.contains(&partition)
    }

    /// A partition was started.
    pub(crate) fn started(&mut self, partition: i32) {
        self.waiting.remove(&partition);
        self.assigned.insert(partition);
    }

    /// Nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_wait_until_they_are_started_or_go_elsewhere() {
        let now = Instant::now();
        let mut pending = Pending::default();
        assert!(pending.due(now).is_empty());
        pending.add([3, 1, 2]);
        assert_eq!(pending.due(now), [1, 2, 3]);
        pending.failed(now);
        assert!(pending.due(now).is_empty() && !pending.is_empty());
        assert_eq!(pending.due(now + AGAIN), [1, 2, 3]);
        pending.started(1);
        pending.started(2);
        pending.remove(&[2, 3]);
        assert!(pending.is_empty());
        // A peer was first in 1, which is read already; 2 comes back from another worker.
        pending.add([1, 2]);
        assert!(pending.is_assigned(1) && !pending.is_assigned(2));
        pending.started(1);
        pending.started(2);
        pending.failed(now);
        pending.add([4]);
        assert_eq!(pending.due(now), [4], "what is new does not wait");
    }
}
