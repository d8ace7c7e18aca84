//! Everything that speaks to Kafka: configuration, topics, the consumer of a worker, producers, dead letters.

mod assigned;
mod broker;
mod certificate;
mod cluster;
mod complaints;
mod config;
mod consumer;
mod dead_letter;
mod hints;
pub mod lag;
mod log_fit;
mod polled;
mod positions;
mod producer;
mod raw;
mod rebalances;
mod record;
mod stopped;
mod survey;
mod topic_id;

pub use broker::Broker;
pub use cluster::Cluster;
pub(crate) use complaints::Complaints;
pub use config::{KafkaConfig, read_properties};
pub use consumer::Consumer;
pub use dead_letter::DeadLetters;
pub use log_fit::{Log, LogFit, StoredPosition};
pub use polled::Polled;
pub use producer::{Outgoing, Producer, one_header};
pub use raw::{add_header, headers};
pub use record::Record;
pub use survey::{Layout, Member};
pub use topic_id::{NoTopicId, TopicId};
