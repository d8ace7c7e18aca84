//! The goal of a worker: the records it collects, and its end. Only here do live and bounded runs differ.

use crate::bounded::ends::{Ends, Reached};
use crate::bounded::progress::Progress;
use crate::dataset::footer::Footer;
use crate::dataset::offset::Offset;
use std::sync::Arc;
use std::time::Duration;

/// The records that a worker collects.
pub(crate) enum Goal {
    /// All that there is and will be in the partitions that the group gives it.
    Live {
        /// Longest time that records may wait for their file to fill.
        max_age: Duration,
    },
    /// Ranges of partitions that are no other worker's, to their ends.
    Bounded {
        /// The ranges.
        ends: Ends,
        /// Offsets that all workers of the run have read.
        progress: Arc<Progress>,
    },
}

impl Goal {
    /// The partitions to begin with; the group gives those of a live run.
    pub(crate) fn partitions(&self) -> Vec<i32> {
        match self {
            Self::Live { .. } => Vec::new(),
            Self::Bounded { ends, .. } => {
                ends.ranges().iter().map(|range| range.partition).collect()
            }
        }
    }

    /// The position at which the data set begins in a partition without a file.
    pub(crate) fn begin(&self, partition: i32) -> Offset {
        match self {
            Self::Live { .. } => Offset::default(),
            Self::Bounded { ends, .. } => {
                let range = ends.range(partition);
                range.map_or(Offset::default(), |range| range.begin)
            }
        }
    }

    /// The record at this offset is to be collected.
    pub(crate) fn holds(&self, partition: i32, offset: Offset) -> bool {
        match self {
            Self::Live { .. } => true,
            Self::Bounded { ends, .. } => ends.holds(partition, offset),
        }
    }

    /// Notes how far a partition was read. True when no more of it is to be read.
    pub(crate) fn read_to(&mut self, partition: i32, reached: Reached) -> bool {
        match self {
            Self::Live { .. } => false,
            Self::Bounded { ends, .. } => ends.read_to(partition, reached),
        }
    }

    /// A partition has to be read again from somewhere, even if it was read to its end.
    pub(crate) fn reopen(&mut self, partition: i32) {
        if let Self::Bounded { ends, .. } = self {
            ends.reopen(partition);
        }
    }

    /// More of a partition is to be read.
    pub(crate) fn is_reading(&self, partition: i32) -> bool {
        match self {
            Self::Live { .. } => true,
            Self::Bounded { ends, .. } => ends.is_reading(partition),
        }
    }

    /// Nothing more is to be read.
    pub(crate) fn is_reached(&self) -> bool {
        match self {
            Self::Live { .. } => false,
            Self::Bounded { ends, .. } => ends.all_reached(),
        }
    }

    /// A file is in the data set.
    pub(crate) fn published(&self, file: &Footer) {
        if let Self::Bounded { progress, .. } = self {
            progress.published(file);
        }
    }

    /// Tells how far a bounded run is, given the position of each partition that is open.
    pub(crate) fn report(&self, position: impl Fn(i32) -> Option<Offset>) {
        let Self::Bounded { ends, progress } = self else {
            return;
        };
        let read = ends.ranges().iter().map(|range| {
            let read = position(range.partition).map_or(0, |now| now.since(range.first));
            match ends.is_reading(range.partition) {
                true => read.min(range.len()),
                false => range.len(),
            }
        });
        if let Some(first) = ends.ranges().first() {
            // A partition is no other worker's.
            progress.report(first.partition, read.sum());
        }
    }
}
