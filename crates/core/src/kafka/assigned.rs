//! The partitions that the consumers of a process read, and their lag at the last look.

use super::lag::Lag;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The partitions, shared by all consumers of one configuration; a process has one configuration.
#[derive(Debug, Default)]
pub(super) struct Assigned {
    partitions: Mutex<BTreeSet<i32>>,
    lags: Mutex<Vec<Lag>>,
}

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

    /// Keeps the lags of a look.
    pub(super) fn looked(&self, lags: Vec<Lag>) {
        *self.lags.lock().unwrap_or_else(PoisonError::into_inner) = lags;
    }

    /// The lags of the last look.
    pub(super) fn lags(&self) -> Vec<Lag> {
        let lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        lags.clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        let partitions = self.partitions.lock();
        partitions.unwrap_or_else(PoisonError::into_inner)
    }
}
