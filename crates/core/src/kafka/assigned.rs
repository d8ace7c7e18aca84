//! The partitions that the consumers of a process read, for its lag metrics.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The partitions, shared by all consumers of one configuration; a process has one configuration.
#[derive(Debug, Default)]
pub(super) struct Assigned(Mutex<BTreeSet<i32>>);

impl Assigned {
    pub(super) fn partitions(&self) -> BTreeSet<i32> {
        self.lock().clone()
    }

    /// Adds partitions that a consumer reads from now on.
    pub(super) fn add(&self, partitions: impl Iterator<Item = i32>) {
        self.lock().extend(partitions);
    }

    /// Removes partitions that a consumer no longer reads.
    pub(super) fn remove(&self, partitions: impl Iterator<Item = i32>) {
        let mut own = self.lock();
        for partition in partitions {
            own.remove(&partition);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
