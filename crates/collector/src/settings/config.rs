//! What the flags come to: the configuration that a run is given.

use super::Features;
use crate::dataset::store::Location;
use crate::encode::Codec;
use crate::encode::sampling::Enough;
use crate::encode::schema::Schema;
use crate::worker::memory::Budget;
use std::time::Duration;
use tidemill_core::settings::Shared;

/// The configuration of a run.
#[derive(Clone, Debug)]
pub struct Config {
    /// What all binaries have in common.
    pub shared: Shared,
    /// Where the data set lies.
    pub out: Location,
    /// Records of a file, at least 1.
    pub rows: usize,
    /// Bound of the memory for records, in bytes, for all workers together; not less than they get by with.
    pub memory: usize,
    /// The schema that was given.
    pub(crate) schema: Option<Schema>,
    /// What a schema is inferred from in a live run.
    pub(crate) enough: Enough,
    /// Headers are kept.
    pub headers: bool,
    /// How files are compressed.
    pub codec: Codec,
    /// How much is collected.
    pub extent: Extent,
    /// Point-in-time features.
    pub features: Option<Features>,
}

impl Config {
    /// How the memory is divided among so many workers, which are no more than there are to be.
    pub(crate) fn budget(&self, workers: usize) -> Budget {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Budget::of(self.memory, workers, largest_claim(&self.shared), cores)
    }

    /// What the members of the group write to, wherever they were started.
    pub(crate) fn writes_to(&self) -> String {
        match &self.out {
            Location::Folder(folder) => {
                let folder = folder.canonicalize().unwrap_or_else(|_| folder.clone());
                format!("data set {}", folder.display())
            }
            bucket @ Location::Bucket(_) => format!("data set {bucket}"),
        }
    }
}

/// The largest object that a value may stand for, in bytes; 0 where none may.
pub(super) fn largest_claim(shared: &Shared) -> usize {
    match shared.claims.location {
        Some(_) => usize::try_from(shared.claims.max_bytes).unwrap_or(usize::MAX),
        None => 0,
    }
}

/// How much of the topic is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// As a member of the group, for ever.
    Live {
        /// How long records may wait for their file to fill.
        max_age: Duration,
    },
    /// A stretch, alone, to its end.
    Stretch(Stretch),
}

/// A stretch of the topic by Kafka time, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// From the first record of this time or later; otherwise from where the data set ends.
    pub from: Option<i64>,
    /// Up to the first record of this time or later; otherwise to the log's end as it is at the start.
    pub to: Option<i64>,
}
