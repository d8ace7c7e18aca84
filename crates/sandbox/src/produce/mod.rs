//! `sandbox produce`: sends one record, or one per line of standard input, to a topic.

mod claim;

use std::borrow::Cow;
use std::io::BufRead as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use self::claim::Claims;
use tidemill_core::tell_line;

use crate::kafka::{self, Producer};

/// The record, and its topic.
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
    /// Send what this file holds as a claim: it goes to --claims, the record only says where it lies
    #[arg(long, value_name = "FILE", requires = "claims", conflicts_with_all = ["value", "null", "key_field"])]
    claim: Option<PathBuf>,
    /// Where the objects of claims go, a folder or s3://bucket/prefix; large values become claims then
    #[arg(long, env = "TIDEMILL_CLAIMS", value_name = "DIR|URL")]
    claims: Option<String>,
    /// Bytes above which a value becomes a claim; topics take a little more than a million by default
    #[arg(long, value_name = "BYTES", default_value_t = 900_000)]
    claim_above: usize,
    /// Kafka brokers, host:port separated by commas
    #[arg(long, env = "KAFKA_BROKERS", default_value = "localhost:9092")]
    brokers: String,
    /// Partitions of a topic that has to be created
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=1000))]
    partitions: i32,
}

/// Produces the records that the flags describe, and prints the place of the last one.
pub fn command(flags: &Flags) -> Result<()> {
    kafka::create_topics(&flags.brokers, &[&flags.topic], flags.partitions)?;
    let producer = Producer::open(&flags.brokers)?;
    let mut count = 0_u64;
    let claims = flags.claims.as_ref();
    let claims = claims.map(|place| Claims::open(place, flags.claim_above));
    let claims = claims.transpose()?;
    let mut send = |value: Option<&[u8]>| -> Result<()> {
        let key = key(flags, value)?;
        count += 1;
        let claimed = match (&claims, value) {
            (Some(claims), Some(value)) => claims.for_large(value)?,
            _ => None,
        };
        let value = claimed.map(Cow::Owned).or(value.map(Cow::Borrowed));
        let value = value.as_deref();
        producer.send(&flags.topic, key.as_deref().map(str::as_bytes), value, None)
    };
    if let (Some(claims), Some(file)) = (&claims, &flags.claim) {
        send(Some(&claims.for_file(file)?))?;
    } else {
        send_values(flags, send)?;
    }
    producer.flush()?;
    match producer.last_delivery() {
        Some((partition, offset)) if count == 1 => {
            tell_line!(
                "produced to {} partition {partition} offset {offset}",
                flags.topic
            )?;
        }
        _ => tell_line!("produced {count} records to {}", flags.topic)?,
    }
    Ok(())
}

/// Sends the given value, or each line of standard input.
fn send_values(flags: &Flags, mut send: impl FnMut(Option<&[u8]>) -> Result<()>) -> Result<()> {
    match &flags.value {
        Some(value) => send(Some(value.as_bytes()))?,
        None if flags.null => send(None)?,
        None => {
            for line in std::io::stdin().lock().lines() {
                send(Some(line.context("cannot read standard input")?.as_bytes()))?;
            }
        }
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
