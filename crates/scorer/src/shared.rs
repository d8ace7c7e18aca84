//! Everything that the workers of a process have in common.

use std::sync::Arc;

use tidemill_core::claim::Resolver;
use tidemill_core::health::Health;
use tidemill_core::kafka::{DeadLetters, Surroundings, TopicId};
use tokio::runtime::Handle;

use crate::settings::Config;
use crate::swap::Models;

/// What all workers share.
pub struct Shared {
    /// The validated flags.
    pub config: Config,
    /// The model, and its successors.
    pub models: Arc<Models>,
    /// Kafka's id of the input topic at the start.
    pub topic: Option<TopicId>,
    /// How many partitions the input topic had at the start.
    pub partitions: usize,
    /// Where rejected records go.
    pub dead_letters: DeadLetters,
    /// Fetches what claims stand for.
    pub resolver: Resolver,
    /// What others do to the topic and the group.
    pub surroundings: Surroundings,
    /// What the readiness page says.
    pub health: Arc<Health>,
    /// Runs the feature reads.
    pub runtime: Handle,
}
