//! Everything that speaks to Kafka: configuration, topics, the consumer of a worker, producers, dead letters.

mod certificate;
mod cluster;
mod complaints;
mod config;
mod consumer;
mod dead_letter;
pub mod lag;
mod producer;
mod survey;

pub use cluster::Cluster;
pub use complaints::{Complaints, complaints};
pub use config::{KafkaConfig, read_properties};
pub use consumer::{Consumer, Polled, Record};
pub use dead_letter::DeadLetters;
pub use producer::{Outgoing, Producer, one_header};
pub use survey::{Broker, Layout, Member};
