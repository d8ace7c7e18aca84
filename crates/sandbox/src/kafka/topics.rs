//! Creates and re-creates topics, and deletes records as retention would.

use anyhow::{Context, Result, anyhow, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{ANSWER, block_on};

fn admin(brokers: &str) -> Result<AdminClient<DefaultClientContext>> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .context("creating a Kafka client")
}

/// Creates topics with `partitions` each; skips those that exist.
pub fn create_topics(brokers: &str, topics: &[&str], partitions: i32) -> Result<()> {
    let admin = admin(brokers)?;
    let wanted: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|topic| NewTopic::new(topic, partitions, TopicReplication::Fixed(1)))
        .collect();
    let options = AdminOptions::new()
        .operation_timeout(Some(ANSWER))
        .request_timeout(Some(ANSWER));
    let outcomes = block_on(admin.create_topics(&wanted, &options))?
        .with_context(|| format!("creating topics at {brokers}"))?;
    for outcome in outcomes {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => bail!("cannot create topic {topic}: {code}"),
        }
    }
    Ok(())
}

/// Deletes a topic with all its records.
pub fn delete_topic(brokers: &str, topic: &str) -> Result<()> {
    let options = AdminOptions::new().operation_timeout(Some(ANSWER));
    let deleted = block_on(admin(brokers)?.delete_topics(&[topic], &options))?;
    for outcome in deleted.with_context(|| format!("deleting {topic}"))? {
        outcome.map_err(|(topic, code)| anyhow!("cannot delete topic {topic}: {code}"))?;
    }
    Ok(())
}

/// Deletes a topic with all its records and creates it again under the same name.
pub fn make_anew(brokers: &str, topic: &str, partitions: i32) -> Result<()> {
    delete_topic(brokers, topic)?;
    create_topics(brokers, &[topic], partitions)
}

/// Deletes the records of a partition before `position`, as retention would.
pub fn delete_before(brokers: &str, topic: &str, partition: i32, position: i64) -> Result<()> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(position))?;
    let options = AdminOptions::new().operation_timeout(Some(ANSWER));
    let outcome = block_on(admin(brokers)?.delete_records(&list, &options))?;
    outcome.with_context(|| format!("deleting records of {topic}"))?;
    Ok(())
}
