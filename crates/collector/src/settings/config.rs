//! What the flags come to: the configuration that a run is given.

use super::Features;
use crate::dataset::store::Location;
use crate::encode::Codec;
use crate::schema::Schema;
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
    /// Bound of what is fetched ahead and buffered, in bytes, for all workers together.
    pub memory: usize,
    /// The schema that was given.
    pub(crate) schema: Option<Schema>,
    /// Headers are kept.
    pub headers: bool,
    /// How files are compressed.
    pub codec: Codec,
    /// How much is collected.
    pub extent: Extent,
    /// Point-in-time features.
    pub features: Option<Features>,
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
