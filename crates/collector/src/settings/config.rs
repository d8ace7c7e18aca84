//! The configuration of a run, made of the flags.

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
    /// The settings that all binaries have.
    pub shared: Shared,
    /// The place of the data set.
    pub out: Location,
    /// Records of a file, at least 1.
    pub rows: usize,
    /// Bound of the memory for records, in bytes, for all workers together; not less than they get by with.
    pub memory: usize,
    /// The schema that was given.
    pub(crate) schema: Option<Schema>,
    /// The sample from which a live run infers a schema.
    pub(crate) enough: Enough,
    /// Headers are kept.
    pub headers: bool,
    /// The compression of files.
    pub codec: Codec,
    /// The extent of the run.
    pub extent: Extent,
    /// Point-in-time features.
    pub features: Option<Features>,
}

impl Config {
    /// The parts of the memory for so many workers, at most as many as are configured.
    pub(crate) fn budget(&self, workers: usize) -> Budget {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Budget::of(self.memory, workers, largest_claim(&self.shared), cores)
    }

    /// The destination of the group's members, whatever folder they were started in.
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

/// The largest object that a claim may name, in bytes; 0 where none may.
pub(super) fn largest_claim(shared: &Shared) -> usize {
    match shared.claims.location {
        Some(_) => usize::try_from(shared.claims.max_bytes).unwrap_or(usize::MAX),
        None => 0,
    }
}

/// The part of the topic that is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// As a member of the group, for ever.
    Live {
        /// Longest time that records may wait for their file to fill.
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
