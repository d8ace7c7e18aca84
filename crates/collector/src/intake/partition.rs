//! One open partition of a worker: its records since the last file, and what is on its way.

use crate::buffer::Batch;
use crate::lane::Lane;
use std::collections::VecDeque;
use std::time::Instant;

/// A partition that is open.
pub(super) struct Partition {
    /// Its records since the last file.
    pub(super) batch: Batch,
    /// When its first record came.
    pub(super) since: Option<Instant>,
    /// Their way into the data set.
    pub(super) lane: Lane,
    /// Memory of each batch on its way.
    pub(super) under_way: VecDeque<usize>,
}

impl Partition {
    /// Begins at `position` after what retention has deleted.
    pub(super) fn new(lane: Lane, position: i64, gap: Option<(i64, i64)>) -> Self {
        let mut batch = Batch::at(position);
        batch.gap = gap;
        Self {
            batch,
            since: None,
            lane,
            under_way: VecDeque::new(),
        }
    }

    /// Ends the file here, if there is anything in it, and gives it on its way.
    pub(super) fn send(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let following = Batch::at(self.batch.next);
        let full = std::mem::replace(&mut self.batch, following);
        self.since = None;
        self.under_way.push_back(full.footprint());
        self.lane.give(full);
    }
}
