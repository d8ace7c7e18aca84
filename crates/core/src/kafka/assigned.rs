//! The partitions that the members of a process read, for its lag metrics.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shared by all consumers that are opened with one configuration, which a process has one of.
#[derive(Debug, Default)]
pub(super) struct Assigned(Mutex<BTreeSet<i32>>);

impl Assigned {
    /// The partitions.
    pub(super) fn partitions(&self) -> BTreeSet<i32> {
        self.lock().clone()
    }

    /// A member reads these from now on.
    pub(super) fn add(&self, partitions: impl Iterator<Item = i32>) {
        self.lock().extend(partitions);
    }

    /// A member reads these no longer.
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
