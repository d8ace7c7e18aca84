//! The limit: a loop that copies records exactly once and does nothing else, writing what the scorer would write.

use std::collections::BTreeMap;
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

/// How long one step may take.
const STEP: Duration = Duration::from_secs(30);

/// Copies the scene's `count` payments to the topic `target` in transactions of `size` records, with as many threads as
/// the scorer has workers and the same client settings. Every copy has the value and the header of `sample`.
pub(super) fn copy(
    scene: &Scene,
    target: &str,
    count: u64,
    size: u64,
    sample: &Stored,
) -> Result<Measured> {
    let threads = workers() as i32;
    let mut copiers = Vec::new();
    for number in 0..threads {
        let partitions = (0..PARTITIONS).filter(|id| id % threads == number);
        copiers.push(Copier::open(scene, target, number, partitions)?);
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

    /// Copies to the end of all its partitions; returns how many records.
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
