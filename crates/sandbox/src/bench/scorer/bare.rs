//! The limit: a loop that copies records exactly once, does nothing else, and writes the bytes that the scorer writes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use tidemill_core::kafka::{KafkaConfig, add_header};

use super::PARTITIONS;
use crate::bench::{Measured, workers};
use crate::harness::Scene;
use crate::kafka::Stored;

/// Time limit of one step.
const STEP: Duration = Duration::from_secs(30);

/// Copies the scene's `count` payments from this many partitions to the topic `target` in transactions of `size`
/// records, with the scorer's number of threads and client settings. Every copy has the value and the header of
/// `sample`.
pub(super) fn copy(
    scene: &Scene,
    target: &str,
    partitions: i32,
    count: u64,
    size: u64,
    sample: &Stored,
) -> Result<Measured> {
    let threads = workers() as i32;
    let mut copiers = Vec::new();
    for number in 0..threads {
        let own = (0..partitions).filter(|id| id % threads == number);
        copiers.push(Copier::open(scene, target, number, own)?);
    }
    let start = Instant::now();
    let copied = thread::scope(|scope| {
        let started = copiers
            .iter()
            .map(|one| scope.spawn(|| one.run(size, sample)));
        let running: Vec<_> = started.collect();
        let copied = running.into_iter().map(|one| {
            let outcome = one.join();
            outcome.map_err(|_| anyhow!("a copy loop panicked"))?
        });
        copied.sum::<Result<u64>>()
    })?;
    ensure!(copied == count, "{copied} of {count} were copied");
    Ok(Measured::since(start, count))
}

/// Transactions and records of a loop that goes on.
#[derive(Default)]
pub(super) struct Copies {
    transactions: AtomicU64,
    records: AtomicU64,
}

impl Copies {
    /// Transactions and records so far.
    pub(super) fn counts(&self) -> (f64, f64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed) as f64;
        (count(&self.transactions), count(&self.records))
    }
}

/// Copies the scene's payments to its predictions' topic as they come, until stopped: one producer; each
/// transaction takes all that has arrived. Every copy has the value and the header of `sample`.
pub(super) fn follow(
    scene: &Scene,
    sample: &Stored,
    copies: &Copies,
    stop: &AtomicBool,
) -> Result<()> {
    let copier = Copier::open(scene, &scene.names.predictions, 0, 0..PARTITIONS)?;
    while !stop.load(Ordering::Relaxed) {
        let records = copier.transaction(sample)?;
        if records > 0 {
            copies.transactions.fetch_add(1, Ordering::Relaxed);
            copies.records.fetch_add(records, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// One thread's consumer and producer.
struct Copier<'s> {
    consumer: BaseConsumer,
    producer: ThreadedProducer<DefaultProducerContext>,
    source: &'s str,
    target: &'s str,
    partitions: usize,
}

impl<'s> Copier<'s> {
    fn open(
        scene: &'s Scene,
        target: &'s str,
        number: i32,
        partitions: impl Iterator<Item = i32>,
    ) -> Result<Self> {
        let kafka = KafkaConfig::new(&scene.brokers, BTreeMap::new());
        let consumer: BaseConsumer = kafka.consumer(target).create()?;
        let source = scene.names.transactions.as_str();
        let mut assignment = TopicPartitionList::new();
        for partition in partitions {
            assignment.add_partition_offset(source, partition, Offset::Beginning)?;
        }
        consumer.assign(&assignment)?;
        let mut config = kafka.producer();
        config.set("transactional.id", format!("{target}-{number}"));
        let producer: ThreadedProducer<_> = config.create()?;
        producer.init_transactions(STEP)?;
        let partitions = assignment.count();
        Ok(Copier {
            consumer,
            producer,
            source,
            target,
            partitions,
        })
    }

    /// Copies to the end of all its partitions; returns the number of records.
    fn run(&self, size: u64, sample: &Stored) -> Result<u64> {
        let (mut copied, mut ended) = (0, 0);
        while ended < self.partitions {
            self.producer.begin_transaction()?;
            let mut positions = BTreeMap::new();
            let mut batch = 0;
            while batch < size && ended < self.partitions {
                match self.consumer.poll(STEP) {
                    Some(Ok(message)) => {
                        positions.insert(message.partition(), message.offset() + 1);
                        self.send(message.key().unwrap_or_default(), sample)?;
                        batch += 1;
                    }
                    Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                    Some(Err(error)) => return Err(error.into()),
                    None => bail!("nothing to read within {STEP:?}"),
                }
            }
            self.commit(&positions)?;
            copied += batch;
        }
        Ok(copied)
    }

    /// Copies all that has arrived, or waits for a moment; returns the number of records.
    fn transaction(&self, sample: &Stored) -> Result<u64> {
        let (mut positions, mut records) = (BTreeMap::new(), 0);
        let mut wait = Duration::from_millis(100);
        loop {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    if records == 0 {
                        self.producer.begin_transaction()?;
                    }
                    positions.insert(message.partition(), message.offset() + 1);
                    self.send(message.key().unwrap_or_default(), sample)?;
                    (records, wait) = (records + 1, Duration::ZERO);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) => return Err(error.into()),
                None => break,
            }
        }
        if records > 0 {
            self.commit(&positions)?;
        }
        Ok(records)
    }

    fn send(&self, key: &[u8], sample: &Stored) -> Result<()> {
        let mut headers = OwnedHeaders::new_with_capacity(1);
        for (name, value) in &sample.headers {
            headers = add_header(headers, name, Some(value));
        }
        let value = sample.value.as_deref().unwrap_or_default();
        let record = BaseRecord::to(self.target).key(key).payload(value);
        let mut record = record.headers(headers);
        while let Err((error, back)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            record = back;
            thread::sleep(Duration::from_micros(500));
        }
        Ok(())
    }

    fn commit(&self, positions: &BTreeMap<i32, i64>) -> Result<()> {
        // The client's own flush, within the commit, waits in steps of 100 ms.
        while self.producer.in_flight_count() > 0 {
            thread::sleep(Duration::from_micros(100));
        }
        let mut list = TopicPartitionList::new();
        for (partition, position) in positions {
            list.add_partition_offset(self.source, *partition, Offset::Offset(*position))?;
        }
        let member = self
            .consumer
            .group_metadata()
            .context("no group metadata")?;
        self.producer
            .send_offsets_to_transaction(&list, &member, STEP)?;
        Ok(self.producer.commit_transaction(Timeout::Never)?)
    }
}
