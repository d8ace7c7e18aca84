//! A process's knowledge of its partitions in the data set, from the time that it started them.

use crate::dataset::names;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The knowledge of each partition. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownPartitions(Arc<Mutex<BTreeMap<i32, Seen>>>);

#[derive(Debug, Default)]
struct Seen {
    begun: bool,
    /// The paths of rejects that no data file stands for: a peer is about to publish it, or was killed before.
    leftovers: Vec<String>,
}

impl KnownPartitions {
    /// A partition is started: the data set says where it begins, or does not yet, and has these leftover rejects.
    pub(crate) fn started(&self, partition: i32, begun: bool, leftovers: Vec<String>) {
        self.lock().insert(partition, Seen { begun, leftovers });
    }

    /// The data set says where the partition begins.
    pub(crate) fn is_begun(&self, partition: i32) -> bool {
        self.lock().get(&partition).is_some_and(|seen| seen.begun)
    }

    /// From now on it does.
    pub(crate) fn begun(&self, partition: i32) {
        self.lock().entry(partition).or_default().begun = true;
    }

    /// Takes the leftovers that nobody can publish a data file for any more, now that there is one up to `next`.
    pub(crate) fn take_dead(&self, partition: i32, next: i64) -> Vec<String> {
        let mut all = self.lock();
        let Some(seen) = all.get_mut(&partition) else {
            return Vec::new();
        };
        let dead = |path: &mut String| {
            let name = path.rsplit('/').next().unwrap_or_default();
            names::parse_rejected(name).is_some_and(|file| file.first < next)
        };
        seen.leftovers.extract_if(.., dead).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
