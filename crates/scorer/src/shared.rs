//! Everything that the workers of a process have in common.

use std::sync::Arc;

use tidemill_core::claim::Resolver;
use tidemill_core::health::Health;
use tidemill_core::kafka::{DeadLetters, Surroundings, TopicId};
use tokio::runtime::Handle;

use crate::page::Seen;
use crate::settings::Config;
use crate::swap::Models;

/// The common part of all workers.
pub struct Shared {
    /// The validated flags.
    pub config: Config,
    /// The model, and its successors.
    pub models: Arc<Models>,
    /// Kafka's id of the input topic at the start.
    pub topic: Option<TopicId>,
    /// The number of the input topic's partitions at the start.
    pub partitions: usize,
    /// The destination of rejected records.
    pub dead_letters: DeadLetters,
    /// Fetches the objects that claims name.
    pub resolver: Resolver,
    /// The actions of others on the topic and the group.
    pub surroundings: Surroundings,
    /// The readiness page.
    pub health: Arc<Health>,
    /// What the live page shows of committed batches.
    pub seen: Arc<Seen>,
    /// Runs the feature reads.
    pub runtime: Handle,
}
