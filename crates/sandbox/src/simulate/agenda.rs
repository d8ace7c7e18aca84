//! Planned tasks by time; tasks of one time come in the order in which they were planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A queue of tasks at times, epoch milliseconds.
pub(crate) struct Agenda<Task> {
    entries: BinaryHeap<Entry<Task>>,
    /// Number of entries ever made.
    made: u64,
}

impl<Task> Agenda<Task> {
    /// An agenda without tasks.
    pub(crate) fn new() -> Agenda<Task> {
        Agenda {
            entries: BinaryHeap::new(),
            made: 0,
        }
    }

    /// Adds a task.
    pub(crate) fn plan(&mut self, time_ms: i64, task: Task) {
        self.made += 1;
        self.entries.push(Entry {
            order: (time_ms, self.made),
            task,
        });
    }

    /// Takes the earliest task, with its time.
    pub(crate) fn next(&mut self) -> Option<(i64, Task)> {
        self.entries.pop().map(|entry| (entry.order.0, entry.task))
    }
}

/// The earliest entry compares as the greatest, since [`BinaryHeap`] returns the greatest.
struct Entry<Task> {
    order: (i64, u64),
    task: Task,
}

impl<Task> Ord for Entry<Task> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.order.cmp(&self.order)
    }
}

impl<Task> PartialOrd for Entry<Task> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<Task> PartialEq for Entry<Task> {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl<Task> Eq for Entry<Task> {}

#[cfg(test)]
mod tests {
    use super::Agenda;

    #[test]
    fn by_time_then_by_plan() {
        let mut agenda = Agenda::new();
        for (time_ms, task) in [(3, "d"), (1, "a"), (2, "b"), (2, "c")] {
            agenda.plan(time_ms, task);
        }
        let all: Vec<_> = std::iter::from_fn(|| agenda.next()).collect();
        assert_eq!(all, [(1, "a"), (2, "b"), (2, "c"), (3, "d")]);
    }
}
