//! The plain loop: it reads, parses, scores and sends one record at a time; positions commit themselves.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use scorer::model::{Session, load};
use serde_json::{Value, json};

use super::PARTITIONS;
use crate::bench::Measured;
use crate::harness::Scene;

/// Time after which its rate is known well enough.
const LONG_ENOUGH: Duration = Duration::from_secs(6);

/// The moments at which the loop waits for the records it has sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// After each record, so that none is lost.
    EachRecord,
    /// Never: a kill loses the records under way.
    Never,
}

/// Scores the scene's `count` payments one by one, on to the topic `target`, for a while.
pub(super) fn score(scene: &Scene, target: &str, count: u64, wait: Wait) -> Result<Measured> {
    let model = load(&scene.model()?)?;
    let mut session = Session::new(&model)?;
    let consumer = consumer(scene, target)?;
    // Below the client's own limit of 100,000.
    let (linger, most_under_way) = match wait {
        Wait::EachRecord => ("0", 0),
        Wait::Never => ("5", 50_000),
    };
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .set("acks", "all")
        .set("linger.ms", linger)
        .create()?;
    let (mut records, mut scores) = (0, Vec::new());
    let mut start: Option<Instant> = None;
    let opened = Instant::now();
    while records < count && start.is_none_or(|start| start.elapsed() < LONG_ENOUGH) {
        // A poll also returns nothing when positions have been committed.
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            ensure!(opened.elapsed() < 5 * LONG_ENOUGH, "nothing to read");
            continue;
        };
        let message = message?;
        start.get_or_insert_with(Instant::now);
        let payment: Value = serde_json::from_slice(message.payload().unwrap_or_default())?;
        let inputs = model.manifest.inputs.iter();
        let row: Vec<f64> = inputs
            .map(|input| payment[&input.name].as_f64().unwrap_or_default())
            .collect();
        scores.clear();
        session.run(&row, &mut scores)?;
        let prediction = json!({
            "transaction_id": payment["transaction_id"],
            "fraud_score": (scores[0] * 10_000.0).round() / 10_000.0,
            "is_fraud": scores[0] > model.manifest.threshold,
        });
        let value = prediction.to_string();
        let record = BaseRecord::to(target).key(message.key().unwrap_or_default());
        if let Err((error, _)) = producer.send(record.payload(value.as_bytes())) {
            return Err(error.into());
        }
        producer.poll(Duration::ZERO);
        while producer.in_flight_count() > most_under_way {
            producer.poll(Duration::from_micros(50));
        }
        records += 1;
    }
    Ok(Measured::since(start.context("nothing was read")?, records))
}

fn consumer(scene: &Scene, group: &str) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .set("group.id", group)
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let topic = &scene.names.transactions;
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}
