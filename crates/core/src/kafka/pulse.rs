//! The brokers' part in the health of a process: do the leaders of its partitions answer.

use super::assigned::Assigned;
use super::complaints::Listener;
use super::wording::client_error;
use crate::health::Health;
use crate::pulse::{self, ANSWER, LIMIT};
use crate::settings::Shared;
use anyhow::Context as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Keeps the part `brokers` of `health` until `shutdown`: unready if a leader of the process's partitions has not
/// answered for a while.
pub fn watch(
    shared: &Shared,
    health: &Arc<Health>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let client = shared.kafka.consumer(&shared.group);
    let client = client
        .create_with_context(Listener::default())
        .context("creating a Kafka client")?;
    let (assigned, topic) = (shared.kafka.assigned.clone(), shared.topic.clone());
    let part = health.pulse("brokers", "answer from the brokers", LIMIT);
    pulse::keep(part, shutdown, move || {
        let answer = ask(&client, &assigned, &topic);
        answer.map_err(|error| client_error(&error))
    })
}

/// Asks the leaders for the log ends of this process's partitions, with one request per broker.
fn ask(
    client: &BaseConsumer<Listener>,
    assigned: &Assigned,
    topic: &str,
) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    for partition in assigned.partitions() {
        list.add_partition_offset(topic, partition, Offset::End)?;
    }
    if list.count() == 0 {
        // A process without partitions asks for partition 0, which every topic has.
        list.add_partition_offset(topic, 0, Offset::End)?;
    }
    let answers = client.offsets_for_times(list, ANSWER);
    // librdkafka hands out its errors only to a poll; unpolled, they pile up.
    while client.poll(Duration::ZERO).is_some() {}
    let answers = answers?;
    let mut elements = answers.elements().into_iter();
    elements.try_for_each(|element| element.error())
}
