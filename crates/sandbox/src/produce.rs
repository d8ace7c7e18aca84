//! `sandbox produce`: one record, or a line of standard input each, onto a topic.

use std::io::BufRead as _;

use anyhow::{Context, Result, ensure};

use crate::kafka::{self, Producer};

/// What to put where.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// Topic; created with --partitions if it does not exist
    topic: String,
    /// The value, usually a JSON object; without it each line of standard input is a value
    value: Option<String>,
    /// Key of the records
    #[arg(long, conflicts_with = "key_field")]
    key: Option<String>,
    /// Take each record's key from this field of its JSON value
    #[arg(long, value_name = "FIELD")]
    key_field: Option<String>,
    /// Send a key without a value (a tombstone: erases that user)
    #[arg(long, requires = "key", conflicts_with = "value")]
    null: bool,
    /// Kafka brokers, host:port separated by commas
    #[arg(long, env = "KAFKA_BROKERS", default_value = "localhost:9092")]
    brokers: String,
    /// Partitions of a topic that has to be created
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=1000))]
    partitions: i32,
}

/// Produces what the flags say, and prints where the last record lies.
pub fn command(flags: &Flags) -> Result<()> {
    kafka::create_topics(&flags.brokers, &[&flags.topic], flags.partitions)?;
    let producer = Producer::open(&flags.brokers)?;
    let mut count = 0_u64;
    let mut send = |value: Option<&[u8]>| -> Result<()> {
        let key = key(flags, value)?;
        count += 1;
        producer.send(&flags.topic, key.as_deref().map(str::as_bytes), value, None)
    };
    match &flags.value {
        Some(value) => send(Some(value.as_bytes()))?,
        None if flags.null => send(None)?,
        None => {
            for line in std::io::stdin().lock().lines() {
                send(Some(line.context("cannot read standard input")?.as_bytes()))?;
            }
        }
    }
    producer.flush()?;
    match producer.last_delivery() {
        Some((partition, offset)) if count == 1 => {
            println!(
                "produced to {} partition {partition} offset {offset}",
                flags.topic
            );
        }
        _ => println!("produced {count} records to {}", flags.topic),
    }
    Ok(())
}

fn key(flags: &Flags, value: Option<&[u8]>) -> Result<Option<String>> {
    let Some(field) = &flags.key_field else {
        return Ok(flags.key.clone());
    };
    let json: serde_json::Value = serde_json::from_slice(value.unwrap_or_default())
        .with_context(|| format!("--key-field {field}: a value is no JSON"))?;
    let key = json
        .get(field)
        .map(|key| key.as_str().map_or_else(|| key.to_string(), str::to_owned));
    ensure!(
        key.is_some(),
        "--key-field {field}: a value has no such field: {json}"
    );
    Ok(key)
}
