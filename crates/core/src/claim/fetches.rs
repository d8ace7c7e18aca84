//! Resolves claims without blocking a worker: an object that takes long is fetched in the background.

use super::{Content, Resolver, Unavailable, is_claim};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Time limit for waiting for an object: the worker's other partitions, and users that are due, wait meanwhile.
const WAIT: Duration = Duration::from_millis(200);

/// The objects that are fetched for a worker, at most one for each of its partitions.
pub struct Fetches {
    resolver: Resolver,
    under_way: BTreeMap<i32, Fetch>,
}

/// An object being fetched, with the value that claims it.
struct Fetch {
    value: Vec<u8>,
    outcome: Receiver<Result<Content, Unavailable>>,
}

impl Fetches {
    /// No fetches yet.
    pub fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            under_way: BTreeMap::new(),
        }
    }

    /// The content to decode for a value of a partition; blocks its thread for 200 ms at most. An object that takes
    /// longer is still being fetched when the same value is passed again.
    #[inline]
    pub fn resolve(
        &mut self,
        partition: i32,
        value: Option<&[u8]>,
    ) -> Result<Content, Unavailable> {
        match value {
            Some(bytes) if is_claim(value) => self.object(partition, bytes),
            _ => Ok(Content::Own),
        }
    }

    fn object(&mut self, partition: i32, value: &[u8]) -> Result<Content, Unavailable> {
        let fetch = self.under_way.remove(&partition);
        let fetch = fetch.filter(|fetch| fetch.value == value);
        let fetch = fetch.unwrap_or_else(|| Fetch {
            value: value.to_vec(),
            outcome: self.resolver.begin(value.to_vec()),
        });
        let error = match fetch.outcome.recv_timeout(WAIT) {
            Ok(outcome) => return outcome,
            Err(RecvTimeoutError::Timeout) => {
                self.under_way.insert(partition, fetch);
                "the object is still being fetched"
            }
            Err(RecvTimeoutError::Disconnected) => "stopping",
        };
        Err(Unavailable {
            error: error.into(),
            took: Duration::ZERO,
        })
    }
}
