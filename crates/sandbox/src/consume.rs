//! `sandbox consume`: prints the records of a topic as they arrive.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;
use tidemill_core::json_record::{json_headers, json_record};
use tidemill_core::remark_line;
use tokio_util::sync::CancellationToken;

use crate::kafka::{self, Stored};
use crate::visible::visible;

/// Pause between two looks for a missing topic.
const WAIT: Duration = Duration::from_millis(300);

/// Topic, group and form of a consumption.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// Topic
    topic: String,
    /// Consumer group: shares the partitions with its other members and goes on where it stopped
    #[arg(long)]
    group: Option<String>,
    /// Begin here if the group has no position
    #[arg(long, value_enum, default_value_t = From::Earliest)]
    from: From,
    /// Stop after this many records
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// Stop at the end of the topic instead of waiting for more
    #[arg(long)]
    until_end: bool,
    /// Show records of open and aborted transactions too
    #[arg(long)]
    uncommitted: bool,
    /// Print each record as a line of JSON: topic, partition, offset, timestamp_ms, key, value, headers (name, value);
    /// what is no text is in base64, as key_base64 or value_base64
    #[arg(long)]
    json: bool,
    /// Kafka brokers, host:port separated by commas
    #[arg(long, env = "KAFKA_BROKERS", default_value = "localhost:9092")]
    brokers: String,
}

/// The place where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum From {
    /// With the oldest record.
    Earliest,
    /// With what arrives from now on.
    Latest,
}

/// Prints records until `shutdown`, or until the flags say to stop.
pub fn command(flags: &Flags, shutdown: &CancellationToken) -> Result<()> {
    let consumer = open(flags)?;
    let Some(partitions) = partitions(&consumer, flags, shutdown)? else {
        return Ok(());
    };
    match flags.group {
        Some(_) => consumer.subscribe(&[&flags.topic])?,
        None => consumer.assign(&everything(flags, partitions)?)?,
    }
    let mut printed = 0_u64;
    let mut ended = std::collections::HashSet::new();
    let mut positions = TopicPartitionList::new();
    while !shutdown.is_cancelled() && flags.max.is_none_or(|max| printed < max) {
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Ok(message)) => {
                let record = Stored::from_message(&message);
                print(flags, &record)?;
                printed += 1;
                let position = Offset::Offset(record.offset + 1);
                positions.add_partition_offset(&flags.topic, record.partition, position)?;
                ended.remove(&record.partition);
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
                let mine = consumer.assignment()?.count();
                if flags.until_end && mine > 0 && ended.len() >= mine {
                    break;
                }
            }
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AllBrokersDown))) => {
                remark_line!("no broker answers at {}; waiting", flags.brokers);
            }
            Some(Err(error)) => {
                return Err(error).with_context(|| format!("reading topic {}", flags.topic));
            }
        }
    }
    if flags.group.is_some() && printed > 0 {
        consumer
            .commit(&positions, CommitMode::Sync)
            .context("committing the group's positions")?;
    }
    Ok(())
}

/// The number of the topic's partitions, once it exists; `None` if `shutdown` came first. The scorer creates its output
/// topics when it starts, perhaps later than its reader.
fn partitions(
    consumer: &BaseConsumer,
    flags: &Flags,
    shutdown: &CancellationToken,
) -> Result<Option<i32>> {
    let topic = &flags.topic;
    let mut told = false;
    while !shutdown.is_cancelled() {
        match kafka::find_partitions(consumer, topic)? {
            Some(count) => return Ok(Some(count)),
            None if flags.until_end => bail!("there is no topic {topic}"),
            None if !told => remark_line!("there is no topic {topic} yet; waiting"),
            None => {}
        }
        told = true;
        std::thread::sleep(WAIT);
    }
    Ok(None)
}

fn open(flags: &Flags) -> Result<BaseConsumer> {
    let reset = if flags.from == From::Earliest {
        "earliest"
    } else {
        "latest"
    };
    let isolation = if flags.uncommitted {
        "read_uncommitted"
    } else {
        "read_committed"
    };
    ClientConfig::new()
        .set("bootstrap.servers", &flags.brokers)
        .set(
            "group.id",
            flags.group.as_deref().unwrap_or("sandbox-consume"),
        )
        .set("auto.offset.reset", reset)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", isolation)
        .set("session.timeout.ms", "6000")
        .create()
        .context("creating a Kafka consumer")
}

fn everything(flags: &Flags, partitions: i32) -> Result<TopicPartitionList> {
    let start = if flags.from == From::Earliest {
        Offset::Beginning
    } else {
        Offset::End
    };
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(&flags.topic, partition, start)?;
    }
    Ok(assignment)
}

/// Prints one record as one line.
fn print(flags: &Flags, record: &Stored) -> Result<()> {
    let line = match flags.json {
        true => json(&flags.topic, record),
        false => text(record),
    };
    // A closed pipe means that the reader has seen enough: an end, not a failure.
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        outcome => outcome.context("standard output cannot be written"),
    }
}

fn json(topic: &str, record: &Stored) -> String {
    let headers = record.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_slice(), Some(value.as_slice())));
    let mut line = json_record(
        (topic, record.partition, record.offset),
        record.timestamp_ms,
        (record.key.as_deref(), record.value.as_deref()),
    );
    line.insert("headers".to_owned(), json_headers(headers));
    Value::Object(line).to_string()
}

fn text(record: &Stored) -> String {
    let text = |bytes: &Option<Vec<u8>>| match bytes {
        Some(bytes) => visible(bytes),
        None => "null".to_owned(),
    };
    let mut line = format!(
        "partition {} offset {} key {}",
        record.partition,
        record.offset,
        text(&record.key)
    );
    for (name, value) in &record.headers {
        line.push_str(&format!(" {}={}", visible(name), visible(value)));
    }
    format!("{line} {}", text(&record.value))
}
