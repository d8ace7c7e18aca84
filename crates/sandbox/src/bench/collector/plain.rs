//! The plain loop: it parses one record at a time into a tree, picks the fields into columns, and writes a file every
//! 10,000 rows.
//!
//! It commits after each file and handles no fault: no order of partitions, no exactness, no sync.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use parquet::arrow::ArrowWriter;
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use serde_json::Value;

use super::ours::Run;

/// Rows of a file.
const ROWS: usize = 10_000;

/// Time limit of the next record.
const PATIENCE: Duration = Duration::from_secs(30);

/// Collects the first `records` of a topic, alone in its group.
pub(super) fn collect(brokers: &str, topic: &str, records: u64, out: &Path) -> Result<Run> {
    fs::create_dir_all(out)?;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "plain-loop")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()?;
    consumer.subscribe(&[topic])?;
    let mut columns = Columns::default();
    // Joining a group is not part of collecting: the clock starts with the first record.
    let mut start = None;
    let mut files = 0;
    let mut file_bytes = 0;
    for number in 1..=records {
        let deadline = Instant::now() + PATIENCE;
        // Joining, and other events than records, end a poll early.
        let record = loop {
            if let Some(record) = consumer.poll(PATIENCE) {
                break record?;
            }
            ensure!(Instant::now() < deadline, "no record after {number}");
        };
        start.get_or_insert_with(Instant::now);
        let event: Value = serde_json::from_slice(record.payload().unwrap_or_default())?;
        columns.push(&event, &record);
        if columns.rows == ROWS || number == records {
            let path = out.join(format!("{files:06}.parquet"));
            file_bytes += columns.write(&path)?;
            consumer.commit_consumer_state(CommitMode::Sync).ok();
            files += 1;
        }
    }
    let elapsed = start.map_or(Duration::ZERO, |start| start.elapsed());
    Ok(Run {
        whole: elapsed,
        elapsed,
        peak_bytes: 0,
        cpu: Duration::ZERO,
        file_bytes,
        log: String::new(),
    })
}

/// The columns of a file under construction.
#[derive(Default)]
struct Columns {
    texts: [StringBuilder; 3],
    numbers: [Float64Builder; 3],
    integers: [Int64Builder; 6],
    fraud: BooleanBuilder,
    times: [TimestampMicrosecondBuilder; 2],
    rows: usize,
}

const TEXTS: [&str; 3] = ["transaction_id", "user_id", "_key"];
const NUMBERS: [&str; 3] = ["amount", "merchant_risk_score", "fraud_score"];
const INTEGERS: [&str; 6] = [
    "hour_of_day",
    "is_international",
    "label",
    "_partition",
    "_offset",
    "_timestamp",
];
const TIMES: [&str; 2] = ["timestamp", "label_timestamp"];

impl Columns {
    fn push(&mut self, event: &Value, record: &impl Message) {
        let [id, user, key] = &mut self.texts;
        id.append_option(event["transaction_id"].as_str());
        user.append_option(event["user_id"].as_str());
        key.append_option(record.key().and_then(|key| std::str::from_utf8(key).ok()));
        for (name, column) in NUMBERS.iter().zip(&mut self.numbers) {
            column.append_option(event[*name].as_f64());
        }
        let [hour, abroad, label, partition, offset, timestamp] = &mut self.integers;
        hour.append_option(event["hour_of_day"].as_i64());
        abroad.append_option(event["is_international"].as_i64());
        label.append_option(event["label"].as_i64());
        partition.append_value(record.partition().into());
        offset.append_value(record.offset());
        timestamp.append_option(record.timestamp().to_millis());
        self.fraud.append_option(event["is_fraud"].as_bool());
        for (name, column) in TIMES.iter().zip(&mut self.times) {
            let time = event[*name].as_str();
            let time = time.and_then(|text| text.parse::<jiff::Timestamp>().ok());
            column.append_option(time.map(jiff::Timestamp::as_microsecond));
        }
        self.rows += 1;
    }

    /// Writes a file and begins a new one; returns its size in bytes.
    fn write(&mut self, path: &Path) -> Result<u64> {
        self.rows = 0;
        let mut arrays: Vec<(&str, ArrayRef)> = Vec::new();
        for (name, column) in TEXTS.iter().zip(&mut self.texts) {
            arrays.push((name, Arc::new(column.finish())));
        }
        for (name, column) in NUMBERS.iter().zip(&mut self.numbers) {
            arrays.push((name, Arc::new(column.finish())));
        }
        for (name, column) in INTEGERS.iter().zip(&mut self.integers) {
            arrays.push((name, Arc::new(column.finish())));
        }
        for (name, column) in TIMES.iter().zip(&mut self.times) {
            arrays.push((name, Arc::new(column.finish())));
        }
        arrays.push(("is_fraud", Arc::new(self.fraud.finish())));
        let rows = RecordBatch::try_from_iter(arrays)?;
        let mut writer = ArrowWriter::try_new(File::create(path)?, rows.schema(), None)?;
        writer.write(&rows)?;
        writer.close()?;
        Ok(fs::metadata(path)?.len())
    }
}
