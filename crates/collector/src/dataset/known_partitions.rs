//! A process's knowledge of its partitions in the data set, from the time that it started them.

use crate::dataset::names;
use crate::dataset::offset::Offset;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The knowledge of each partition. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownPartitions(Arc<Mutex<BTreeMap<i32, Seen>>>);

#[derive(Debug, Default)]
struct Seen {
    /// The path of the newest file, or of the beginning while there is none; `None` before that.
    newest: Option<String>,
    /// The paths of rejects that no data file accounts for: a peer is about to publish it, or was killed before.
    leftovers: Vec<String>,
}

impl KnownPartitions {
    /// A partition is started: the data set has this file as its newest, or its beginning, or nothing of it yet, and has
    /// these leftover rejects.
    pub(crate) fn started(&self, partition: i32, newest: Option<String>, leftovers: Vec<String>) {
        self.lock().insert(partition, Seen { newest, leftovers });
    }

    /// The path of the partition's newest file, or of its beginning; `None` if the data set does not say where it begins.
    pub(crate) fn newest(&self, partition: i32) -> Option<String> {
        self.lock().get(&partition)?.newest.clone()
    }

    /// From now on this file is the newest of the partition.
    pub(crate) fn published(&self, partition: i32, path: String) {
        self.lock().entry(partition).or_default().newest = Some(path);
    }

    /// Takes the leftovers that nobody can publish a data file for any more, now that there is one up to `next`.
    pub(crate) fn take_dead(&self, partition: i32, next: Offset) -> Vec<String> {
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
