//! The loop of one worker thread: poll a batch, decode it in place, join features, score, publish
//! predictions and positions together, go on.
//!
//! A batch is what has arrived while the previous one was under way: the worker never waits for a
//! batch to fill. A rebalance is answered between two batches, so that none straddles it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_core::admin::Health;
use tidemill_core::claim::{self, Content, Held, Resolver};
use tidemill_core::clock::now_ms;
use tidemill_core::kafka::{Consumer, DeadLetters, Polled, Record};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::batch::Batch;
use crate::delivery::{Delivery, Outcome};
use crate::positions::Positions;
use crate::publish::Publisher;
use crate::scoring::{Scoring, stage};
use crate::settings::Config;
use crate::start;
use crate::swap::Models;

/// The most records of one batch: under overload larger batches are cheaper, up to where a batch
/// alone takes most of the 100 ms that a prediction may take.
const BATCH: usize = 10_000;

/// The most bytes of records of one batch.
const BATCH_BYTES: usize = 32 << 20;

/// How long a batch may fetch claimed objects before it is published as it is.
const CLAIMS: Duration = Duration::from_millis(50);

/// How long an idle worker waits for a record before it looks at its surroundings again.
const IDLE: Duration = Duration::from_millis(100);

/// What all workers share.
pub struct Shared {
    /// The validated flags.
    pub config: Config,
    /// The model, and its successors.
    pub models: Arc<Models>,
    /// How many partitions the input topic had at the start.
    pub partitions: usize,
    /// Where rejected records go.
    pub dead_letters: DeadLetters,
    /// Fetches what claims stand for.
    pub resolver: Resolver,
    /// What the readiness page says.
    pub health: Arc<Health>,
    /// Runs the feature reads.
    pub runtime: Handle,
}

/// Something other than a record that ended a batch.
enum Event {
    Assigned(Vec<i32>),
    Revoked { partitions: Vec<i32>, lost: bool },
    OutOfRange,
}

/// One worker's state.
struct Worker<'s> {
    shared: &'s Shared,
    part: String,
    consumer: &'s Consumer,
    delivery: Delivery,
    scoring: Scoring,
    publisher: Publisher,
    positions: Positions,
    /// Partitions whose next record stands for an object that cannot be had now.
    held: Held,
    shutdown: CancellationToken,
}

/// Runs a worker until `shutdown`.
///
/// # Errors
///
/// Those after which the process ends.
pub fn run(number: usize, shared: &Shared, shutdown: CancellationToken) -> anyhow::Result<()> {
    let config = &shared.config;
    let part = format!("worker {number}");
    shared.health.unready(&part, "joining the group");
    let delivery = Delivery::open(config, number, &shutdown)?;
    let consumer = Consumer::open(
        &config.shared.kafka,
        &config.shared.group,
        &config.shared.topic,
    )?;
    let mut worker = Worker {
        shared,
        part,
        consumer: &consumer,
        delivery,
        scoring: Scoring::new(shared)?,
        publisher: Publisher::new(config),
        positions: Positions::default(),
        held: Held::default(),
        shutdown,
    };
    worker.work()?;
    Ok(())
}

impl<'s> Worker<'s> {
    fn work(&mut self) -> anyhow::Result<()> {
        let mut batch = Batch::default();
        while !self.shutdown.is_cancelled() {
            self.scoring.follow(self.shared)?;
            let event = self.collect(&mut batch)?;
            // Lost partitions may have another owner already: nothing may be written for them, and
            // the batch cannot be told apart.
            if let Some(Event::Revoked { lost: true, .. }) = event {
                batch.clear();
            }
            if !batch.is_empty() {
                self.complete(&mut batch)?;
                batch.clear();
            }
            match event {
                Some(Event::Assigned(partitions)) => self.assigned(&partitions)?,
                Some(Event::Revoked { partitions, lost }) => self.revoked(&partitions, lost)?,
                Some(Event::OutOfRange) => self.find_way_back(),
                None => {}
            }
        }
        Ok(())
    }

    /// Takes in what has arrived; returns what else the poll brought.
    fn collect(&mut self, batch: &mut Batch<'s>) -> anyhow::Result<Option<Event>> {
        if self.held.any() {
            let positions = &self.positions;
            self.held
                .retry(self.consumer, |partition| positions.get(partition))?;
        }
        let mut fetching = Duration::ZERO;
        while batch.len() < BATCH && batch.bytes < BATCH_BYTES && fetching < CLAIMS {
            let wait = if batch.is_empty() {
                IDLE
            } else {
                Duration::ZERO
            };
            match self.consumer.poll(wait)? {
                Polled::Record(record) => fetching += self.take(batch, record)?,
                Polled::Idle => break,
                Polled::Assigned(partitions) => return Ok(Some(Event::Assigned(partitions))),
                Polled::Revoked { partitions, lost } => {
                    return Ok(Some(Event::Revoked { partitions, lost }));
                }
                Polled::OutOfRange => return Ok(Some(Event::OutOfRange)),
            }
        }
        Ok(None)
    }

    /// Takes a record into the batch; returns how long what it stands for had to be fetched.
    fn take(&mut self, batch: &mut Batch<'s>, record: Record<'s>) -> anyhow::Result<Duration> {
        let partition = record.partition();
        if self.held.any() && self.held.contains(partition) {
            return Ok(Duration::ZERO);
        }
        if !self.positions.advance(partition, record.offset()) {
            return Ok(Duration::ZERO);
        }
        if !claim::is_claim(record.value()) {
            batch.push(self.scoring.decoder(), record, Content::Own);
            return Ok(Duration::ZERO);
        }
        let started = Instant::now();
        match self.shared.resolver.resolve(record.value()) {
            Ok(content) => batch.push(self.scoring.decoder(), record, content),
            Err(error) => {
                self.positions.set(partition, record.offset());
                self.held.hold(self.consumer, partition, &error)?;
            }
        }
        Ok(started.elapsed())
    }

    /// Scores a batch and publishes it.
    fn complete(&mut self, batch: &mut Batch<'s>) -> anyhow::Result<()> {
        let scored = self.scoring.score(batch);
        let started = Instant::now();
        let positions = self.positions.touched();
        let publisher = &mut self.publisher;
        let dead_letters = &self.shared.dead_letters;
        let outcome =
            self.delivery
                .publish(self.consumer, &positions, &self.shutdown, |producer| {
                    publisher.send(producer, dead_letters, batch, &scored)
                })?;
        stage("publish", started.elapsed());
        match outcome {
            Outcome::Committed => {
                self.positions.committed();
                self.publisher.published(batch, &scored, now_ms());
                self.shared.health.ready(&self.part);
                Ok(())
            }
            Outcome::Undone => {
                self.shared
                    .health
                    .unready(&self.part, "the last batch could not be written");
                self.go_back()
            }
        }
    }

    /// Takes up assigned partitions where the group stands. None at all is an assignment too.
    fn assigned(&mut self, partitions: &[i32]) -> anyhow::Result<()> {
        if partitions.is_empty() {
            tracing::info!(worker = self.part, "no partition for this worker");
            self.shared.health.ready(&self.part);
            return Ok(());
        }
        let Shared {
            config,
            partitions: count,
            ..
        } = self.shared;
        let positions = start::positions(
            self.consumer,
            partitions,
            *count,
            config.start,
            &self.shutdown,
        );
        let Some(positions) = positions else {
            return Ok(());
        };
        tracing::info!(worker = self.part, ?positions, "partitions assigned");
        for (partition, position) in &positions {
            self.positions.set(*partition, *position);
        }
        self.consumer.start(&positions)?;
        self.shared.health.ready(&self.part);
        Ok(())
    }

    /// Lets partitions go; what was taken from them is published or dropped by now.
    fn revoked(&mut self, partitions: &[i32], lost: bool) -> anyhow::Result<()> {
        tracing::info!(worker = self.part, ?partitions, lost, "partitions revoked");
        for partition in partitions {
            self.positions.remove(*partition);
        }
        self.held.forget(self.consumer, partitions)?;
        self.consumer.release(partitions)
    }

    /// Goes on where the group stands, after a batch that was not published.
    fn go_back(&mut self) -> anyhow::Result<()> {
        let partitions: Vec<i32> = self.positions.all().into_iter().map(|(id, _)| id).collect();
        self.positions.committed();
        self.held.forget(self.consumer, &partitions)?;
        let committed = loop {
            match self.consumer.committed(&partitions) {
                Ok(committed) => break committed,
                Err(_) if self.shutdown.is_cancelled() => return Ok(()),
                Err(error) => tracing::warn!("{error:#}"),
            }
            std::thread::sleep(IDLE);
        };
        for (partition, position) in committed {
            let Some(position) = position else { continue };
            self.positions.set(partition, position);
            // A partition that was taken away meanwhile cannot be sought; its revocation follows.
            if let Err(error) = self.consumer.seek(partition, position) {
                tracing::warn!("{error:#}");
            }
        }
        Ok(())
    }

    /// Some position is outside its log: goes on at the log's start, however long the brokers take to tell it.
    fn find_way_back(&mut self) {
        while let Err(error) = self.leave_gaps() {
            tracing::warn!("{error:#}");
            if self.shutdown.is_cancelled() {
                return;
            }
            std::thread::sleep(IDLE);
        }
    }

    /// Moves every position that is outside its log to the log's start, and says what is lost.
    fn leave_gaps(&mut self) -> anyhow::Result<()> {
        for (partition, position) in self.positions.all() {
            let (oldest, end) = self.consumer.log_range(partition)?;
            if (oldest..=end).contains(&position) {
                continue;
            }
            self.consumer.seek(partition, oldest)?;
            self.positions.set(partition, oldest);
            let lost = (oldest - position).max(0);
            metrics::counter!("tidemill_lost_to_retention_total").increment(lost as u64);
            tracing::error!(
                partition,
                position,
                oldest,
                end,
                lost,
                "position is outside the log (records deleted by retention, or the topic was \
                 re-created), going on at its start"
            );
        }
        Ok(())
    }
}
