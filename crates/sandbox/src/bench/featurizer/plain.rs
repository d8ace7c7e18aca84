//! The plain loop: one event at a time, a window in memory, each write awaited; neither durable nor fenced.

use std::collections::{HashMap, VecDeque};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde::Deserialize;

use super::super::rates::Measured;
use crate::harness::Scene;
use crate::kafka;

const DAY_MS: i64 = 86_400_000;
const TTL_S: i64 = 172_800;

#[derive(Deserialize)]
struct Event<'a> {
    user_id: &'a str,
    amount: f64,
    timestamp: &'a str,
}

/// In Rust, for `look`.
pub(super) fn rust(scene: &Scene, look: Duration) -> Result<Measured> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .set("group.id", "sandbox-plain")
        .set("enable.auto.commit", "false")
        .create()
        .context("creating a Kafka consumer")?;
    let topic = &scene.names.user_events;
    let mut all = TopicPartitionList::new();
    for partition in 0..kafka::partitions(&consumer, topic)? {
        all.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let mut redis = scene.redis()?;
    let mut windows: HashMap<String, VecDeque<(i64, f64)>> = HashMap::new();
    let (mut start, mut events) = (None, 0);
    loop {
        let record = consumer.poll(Duration::from_secs(10));
        let record = record.context("the topic is too short for the plain loop")??;
        let start = *start.get_or_insert_with(Instant::now);
        let event: Event<'_> = serde_json::from_slice(record.payload().unwrap_or_default())?;
        let time_ms = event.timestamp.parse::<Timestamp>()?.as_millisecond();
        let window = windows.entry(event.user_id.to_owned()).or_default();
        window.push_back((time_ms, event.amount));
        while window
            .front()
            .is_some_and(|(old, _)| *old <= time_ms - DAY_MS)
        {
            window.pop_front();
        }
        let total: f64 = window.iter().map(|(_, amount)| amount).sum();
        let key = format!("plain:{}features:{}", scene.names.key_prefix, event.user_id);
        redis::cmd("HSET")
            .arg(&key)
            .arg("purchase_count_24h")
            .arg(window.len())
            .arg("total_spend_24h")
            .arg(total)
            .arg("avg_purchase_amount")
            .arg(total / window.len() as f64)
            .arg("last_purchase_ts")
            .arg(time_ms as f64 / 1000.0)
            .exec(&mut redis)?;
        redis::cmd("EXPIRE").arg(&key).arg(TTL_S).exec(&mut redis)?;
        events += 1;
        if start.elapsed() >= look {
            return Ok(Measured::since(start, events));
        }
    }
}

/// In Python, if there is one with the clients; the script prints events and seconds.
pub(super) fn python(scene: &Scene, look: Duration) -> Result<Measured> {
    let output = Command::new("python3")
        .args(["-c", include_str!("plain.py")])
        .args([&scene.brokers, &scene.names.user_events, &scene.redis_url])
        .arg(format!("plain:{}", scene.names.key_prefix))
        .arg(look.as_secs_f64().to_string())
        .output()
        .context("python3")?;
    let problem = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{}",
        problem.lines().last().unwrap_or_default()
    );
    let printed = String::from_utf8_lossy(&output.stdout);
    let (events, seconds) = printed.trim().split_once(' ').context("two numbers")?;
    let elapsed = Duration::from_secs_f64(seconds.parse()?);
    let records = events.parse()?;
    Ok(Measured { records, elapsed })
}
