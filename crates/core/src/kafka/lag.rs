//! The lag of a group, from the positions it has committed and the records after them.
//!
//! Offsets alone do not show it: the last ones of a log that is written in transactions belong to markers and aborted
//! records, which no reader gets. So the reader fetches the first record after a position: its age is the lag in
//! seconds, and without one the group is at the end.

use super::assigned::Assigned;
use super::consumer::ANSWER;
use super::{Consumer, KafkaConfig, LogRange, Polled};
use crate::settings::Shared;
use anyhow::Context as _;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Pause between two measurements of a running process.
const EVERY: Duration = Duration::from_secs(5);

/// Time limit for the first unread records to arrive; later ones wait for the next measurement.
const RECORDS: Duration = Duration::from_secs(5);

/// The lag of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Partition number.
    pub partition: i32,
    /// The position that the group has committed, if any.
    pub committed: Option<i64>,
    /// The log, as far as a read_committed reader may see it.
    pub log: LogRange,
    /// The Kafka timestamp (epoch ms) of the first record at or after the position (without one, the log's start);
    /// `None` if there is no such record, or it did not arrive in time.
    pub first_unread: Option<i64>,
    /// True if no readable record follows.
    pub at_end: bool,
}

impl Lag {
    /// Offsets from the position, or from the log's start, to the end; 0 if no readable record is among them.
    pub fn records(&self) -> i64 {
        if self.at_end {
            0
        } else {
            (self.log.end - self.first()).max(0)
        }
    }

    /// The first offset that is not read: the position, or the log's start where that has none or is deleted.
    fn first(&self) -> i64 {
        let oldest = self.log.oldest;
        self.committed.unwrap_or(oldest).max(oldest)
    }

    /// The age in seconds, at `now` in epoch milliseconds, of the first unread record; 0 if there is none.
    pub fn seconds(&self, now: i64) -> f64 {
        self.first_unread
            .map_or(0.0, |time| (now - time).max(0) as f64 / 1000.0)
    }
}

/// Measures the lag of one group on one topic, from outside the group.
pub struct LagReader(Consumer);

impl LagReader {
    /// Connects in the background.
    pub fn open(kafka: &KafkaConfig, group: &str, topic: &str) -> anyhow::Result<Self> {
        Ok(Self(Consumer::glancing(kafka, group, topic)?))
    }

    /// The present lag of these partitions.
    pub fn look(&self, partitions: &[i32]) -> anyhow::Result<Vec<Lag>> {
        let committed = self.0.committed(partitions, ANSWER)?.into_iter();
        let logs = self.0.log_ranges(partitions)?;
        let mut lags = Vec::with_capacity(partitions.len());
        for (partition, committed) in committed {
            let log = logs.get(&partition);
            let mut lag = Lag {
                partition,
                committed,
                log: *log.with_context(|| format!("no log of partition {partition}"))?,
                first_unread: None,
                at_end: false,
            };
            lag.at_end = lag.first() >= lag.log.end;
            lags.push(lag);
        }
        self.first_unread(&mut lags)?;
        Ok(lags)
    }

    /// Reads the first record after each position that is not at its log's end.
    fn first_unread(&self, lags: &mut [Lag]) -> anyhow::Result<()> {
        let behind = lags.iter_mut().filter(|lag| !lag.at_end);
        let mut behind: BTreeMap<i32, &mut Lag> = behind.map(|lag| (lag.partition, lag)).collect();
        let start = |lag: &&mut Lag| (lag.partition, lag.first());
        let starts: Vec<(i32, i64)> = behind.values().map(start).collect();
        if starts.is_empty() {
            return Ok(());
        }
        self.0.start(&starts)?;
        let deadline = Instant::now() + RECORDS;
        while !behind.is_empty() && Instant::now() < deadline {
            let (partition, timestamp, at_end) = match self.0.poll(Duration::from_millis(100))? {
                Polled::Record(record) => (record.partition(), record.timestamp(), false),
                Polled::End(partition) => (partition, None, true),
                _ => continue,
            };
            if let Some(lag) = behind.remove(&partition) {
                (lag.first_unread, lag.at_end) = (timestamp, at_end);
                self.0.release(&[partition])?;
            }
        }
        let late: Vec<i32> = behind.into_keys().collect();
        self.0.release(&late)
    }
}

/// Updates the lag metrics of the partitions that this process reads, until `shutdown`, on a thread of its own: they
/// are still reported when the workers are stuck, which is when they matter.
pub fn watch(shared: &Shared, shutdown: CancellationToken) -> anyhow::Result<()> {
    let reader = LagReader::open(&shared.kafka, &shared.group, &shared.topic)?;
    let (assigned, topic) = (shared.kafka.assigned.clone(), shared.topic.clone());
    std::thread::Builder::new()
        .name("lag".into())
        .spawn(move || {
            let mut told = BTreeSet::new();
            while !shutdown.is_cancelled() {
                tell(&reader, &assigned, &topic, &mut told);
                // Nobody waits for this thread to end.
                std::thread::sleep(EVERY);
            }
        })?;
    Ok(())
}

fn tell(reader: &LagReader, assigned: &Assigned, topic: &str, told: &mut BTreeSet<i32>) {
    let held = assigned.partitions();
    let partitions: Vec<i32> = held.iter().copied().collect();
    let lags = match reader.look(&partitions) {
        Ok(lags) => lags,
        Err(error) => {
            // The last values stay until there are new ones.
            tracing::debug!("lag is unknown: {error:#}");
            return;
        }
    };
    let set = |partition: i32, records: i64, seconds: f64| {
        let labels = [
            ("topic", topic.to_owned()),
            ("partition", partition.to_string()),
        ];
        metrics::gauge!("tidemill_lag_records", &labels).set(records as f64);
        metrics::gauge!("tidemill_lag_seconds", &labels).set(seconds);
    };
    let now = crate::clock::now_ms();
    for lag in &lags {
        set(lag.partition, lag.records(), lag.seconds(now));
    }
    assigned.looked(lags);
    // Another process reports the partitions that it reads.
    for gone in told.difference(&held) {
        set(*gone, 0, 0.0);
    }
    *told = held;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_without_readable_records_are_no_lag() {
        let lag = Lag {
            partition: 0,
            committed: Some(7),
            log: LogRange { oldest: 0, end: 9 },
            first_unread: Some(1_000),
            at_end: false,
        };
        assert_eq!((lag.records(), lag.seconds(3_500)), (2, 2.5));
        let only_markers = Lag {
            first_unread: None,
            at_end: true,
            ..lag
        };
        let told = (only_markers.records(), only_markers.seconds(3_500));
        assert_eq!(told, (0, 0.0));
        let passed_by_retention = Lag {
            log: LogRange { oldest: 8, end: 9 },
            committed: Some(3),
            ..lag
        };
        assert_eq!(passed_by_retention.records(), 1);
        let none = Lag {
            committed: None,
            ..lag
        };
        assert_eq!(none.records(), 9);
    }
}
