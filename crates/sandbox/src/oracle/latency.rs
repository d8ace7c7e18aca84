//! The time from producing a payment until a read_committed reader sees its prediction.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use crate::kafka::{self, Isolation, Stored};
use crate::simulate::now_ms;

/// The time at which each prediction was first seen (epoch ms), by transaction id.
type Seen = HashMap<Vec<u8>, i64>;

/// A thread that reads the predictions topic as it grows.
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    count: Arc<AtomicU64>,
    stop: CancellationToken,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Watch {
    /// Starts reading a topic, which must exist, from its present end.
    pub fn start(brokers: &str, topic: &str) -> Result<Watch> {
        let consumer = kafka::reader(brokers, Isolation::ReadCommitted)?;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..kafka::partitions(&consumer, topic)? {
            let limit = Duration::from_secs(10);
            let (_, end) = consumer
                .fetch_watermarks(topic, partition, limit)
                .with_context(|| format!("asking for the end of topic {topic}"))?;
            assignment.add_partition_offset(topic, partition, Offset::Offset(end))?;
        }
        consumer.assign(&assignment)?;
        let seen = Arc::new(Mutex::new(Seen::new()));
        let count = Arc::new(AtomicU64::new(0));
        let stop = CancellationToken::new();
        let thread = {
            let (seen, count, stop) = (seen.clone(), count.clone(), stop.clone());
            thread::spawn(move || read(&consumer, &seen, &count, &stop))
        };
        Ok(Watch {
            seen,
            count,
            stop,
            thread: Some(thread),
        })
    }

    /// Number of predictions seen so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Compares the predictions seen so far with the times at which these payments were produced.
    pub fn latency<'t>(
        &self,
        transactions: impl IntoIterator<Item = &'t Stored>,
    ) -> Result<Latency> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Latency::between(transactions, &seen)
    }

    /// The wait of each of these payments whose prediction was seen.
    pub fn waits(&self, transactions: &[Stored]) -> Vec<Waited> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = transactions.iter().filter_map(|payment| {
            let id = payment.key.as_deref().unwrap_or_default();
            let produced_ms = payment.timestamp_ms?;
            let waited_ms = u64::try_from(seen.get(id)? - produced_ms).unwrap_or(0);
            Some(Waited {
                id: id.to_owned(),
                produced_ms,
                waited_ms,
            })
        });
        waits.collect()
    }

    /// Stops reading, and compares with the times at which the payments were produced.
    pub fn finish(mut self, transactions: &[Stored]) -> Result<Latency> {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread
                .join()
                .map_err(|_| anyhow!("the reader of predictions panicked"))??;
        }
        self.latency(transactions)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn read(
    consumer: &BaseConsumer,
    seen: &Mutex<Seen>,
    count: &AtomicU64,
    stop: &CancellationToken,
) -> Result<()> {
    while !stop.is_cancelled() {
        match consumer.poll(Duration::from_millis(100)) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Ok(message)) => {
                let now = now_ms();
                let key = message.key().unwrap_or_default().to_owned();
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.entry(key).or_insert(now);
                count.fetch_add(1, Ordering::Relaxed);
            }
            Some(Err(error)) => return Err(error).context("reading predictions"),
        }
    }
    Ok(())
}

/// One payment, from its production until its prediction was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited {
    /// Its transaction id.
    pub id: Vec<u8>,
    /// The time at which it was produced (epoch ms).
    pub produced_ms: i64,
    /// Time until its prediction was seen.
    pub waited_ms: u64,
}

/// The distribution of latencies, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Number of payments whose prediction was seen.
    pub count: u64,
    /// Median.
    pub p50_ms: u64,
    /// 99th percentile.
    pub p99_ms: u64,
    /// Maximum.
    pub max_ms: u64,
}

impl Latency {
    /// A payment's Kafka timestamp is the time at which it was produced.
    fn between<'t>(
        transactions: impl IntoIterator<Item = &'t Stored>,
        seen: &Seen,
    ) -> Result<Latency> {
        let mut histogram = hdrhistogram::Histogram::<u64>::new(3)?;
        for transaction in transactions {
            let key = transaction.key.as_deref().unwrap_or_default();
            if let (Some(produced), Some(seen)) = (transaction.timestamp_ms, seen.get(key)) {
                histogram.record(u64::try_from(seen - produced).unwrap_or(0))?;
            }
        }
        Ok(Latency {
            count: histogram.len(),
            p50_ms: histogram.value_at_quantile(0.5),
            p99_ms: histogram.value_at_quantile(0.99),
            max_ms: histogram.max(),
        })
    }
}
