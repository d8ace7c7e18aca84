//! A worker's records while a live run has no schema: they are looked at, not kept, and read again once there is one.
//!
//! So nothing piles up, however long that takes and whatever comes: a topic may have no usable record at all.

use crate::pipeline::Sink;
use std::time::{Duration, Instant};
use tidemill_core::claim;

/// Claims are left out for so long after their store was away: fetching blocks.
const CLAIMS_AGAIN: Duration = Duration::from_secs(30);

/// Looks at the records of one worker.
pub(super) struct Sampler {
    claims_from: Instant,
}

impl Sampler {
    /// Nothing was looked at yet.
    pub(super) fn new() -> Self {
        Self {
            claims_from: Instant::now(),
        }
    }

    /// A record's part in the schema. A claim whose object is away has none.
    pub(super) fn observe(&mut self, sink: &Sink, value: Option<&[u8]>) {
        if claim::is_claim(value) && Instant::now() < self.claims_from {
            return;
        }
        match sink.encoding.resolver().peek(value) {
            Ok(content) => sink.data_set.freezer().observe(content.of(value)),
            Err(unavailable) => {
                tracing::debug!("{unavailable}");
                self.claims_from = Instant::now() + CLAIMS_AGAIN;
            }
        }
    }
}
