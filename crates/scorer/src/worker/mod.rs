//! The loop of one worker thread: poll a batch, decode it in place, join features, score, publish
//! predictions and positions together, go on.
//!
//! A batch is what has arrived since the previous one was taken: while that was published, which happens beside, and in
//! the pause that the pace asks for after it. A full batch waits for nothing. A rebalance is answered when everything that
//! was taken is published, so that no batch straddles it.

mod assignment;

use std::mem;
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use tidemill_core::claim::{self, Content, Held};
use tidemill_core::health::Part;
use tidemill_core::kafka::{Change, Consumer, Polled, Record, Surroundings};
use tokio_util::sync::CancellationToken;

use self::assignment::Search;
use crate::input::batch::Batch;
use crate::input::partitions::{Partitions, Turn, Why};
use crate::output::delivery::{Delivery, Outcome};
use crate::output::outlet::{Outlet, Work};
use crate::output::pace::Pace;
use crate::run::other_destination;
use crate::scoring::Scoring;
use crate::settings::Config;
use crate::shared::Shared;

/// Records of a batch that waits for nothing: its transaction takes most of the 100 ms that a prediction may take.
const ENOUGH: usize = 10_000;

/// The most bytes of records of one batch.
const BATCH_BYTES: usize = 32 << 20;

/// How long a batch may fetch claimed objects before it is published as it is.
const CLAIMS: Duration = Duration::from_millis(50);

/// How long an idle worker waits for a record before it looks at its surroundings again.
const IDLE: Duration = Duration::from_millis(100);

/// How long while it waits to hear where its partitions are to be read from.
const SEARCHING: Duration = Duration::from_millis(5);

/// Something other than a record that ended a batch.
enum Event {
    Assigned(Vec<i32>),
    Revoked {
        partitions: Vec<i32>,
        lost: bool,
    },
    /// Some position is outside its log.
    OutOfRange,
    /// A partition is stopped, by a record that shows another log.
    OtherLog,
}

/// One worker's state.
struct Worker<'w, 's> {
    shared: &'s Shared,
    part: Part,
    consumer: &'s Consumer,
    scope: &'w Scope<'w, 's>,
    partitions: Partitions,
    /// Look-ups of those that are searched.
    searches: Vec<Search<'w>>,
    scoring: Scoring,
    outlet: Outlet<'s>,
    pace: Pace,
    /// A batch for the next records, while the other is published.
    spare: Batch<'s>,
    surroundings: Surroundings,
    /// The times at which blocked partitions are tried again.
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
    let part = shared.health.part(format!("worker {number}"));
    part.unready("joining the group");
    let Some(delivery) = Delivery::open(config, number, &shutdown)? else {
        return Ok(());
    };
    let consumer = join(config, number)?;
    let scoring = Scoring::new(shared, part.name())?;
    thread::scope(|scope| {
        let worker = Worker {
            shared,
            held: Held::new(&shared.health, part.name()),
            part: part.clone(),
            consumer: &consumer,
            scope,
            partitions: Partitions::default(),
            searches: Vec::new(),
            scoring,
            outlet: Outlet::open(scope, shared, &consumer, delivery, part, shutdown.clone()),
            pace: Pace::new(config.commit_share),
            spare: Batch::default(),
            surroundings: shared.surroundings.clone(),
            shutdown,
        };
        worker.work()
    })
}

fn join(config: &Config, number: usize) -> anyhow::Result<Consumer> {
    let common = &config.shared;
    let (kafka, group, topic) = (&common.kafka, &common.group, &common.topic);
    let writes_to = config.writes_to();
    if config.lasting {
        let name = format!("{}-{number}", config.instance);
        return Consumer::open_named(kafka, group, topic, &writes_to, &name);
    }
    Consumer::open(kafka, group, topic, &writes_to)
}

impl<'s> Worker<'_, 's> {
    fn work(mut self) -> anyhow::Result<()> {
        let mut batch = Batch::default();
        while !self.shutdown.is_cancelled() {
            self.scoring.follow(self.shared)?;
            self.start_found()?;
            let event = self.collect(&mut batch)?;
            // Lost partitions may have another owner already: nothing may be written for them, and
            // the batch cannot be told apart.
            if let Some(Event::Revoked { lost: true, .. }) = event {
                batch.clear();
                self.partitions.stop(Why::Undone);
            }
            if self.topic_is_new()? {
                // Its records may be of the new log, whose first ones are still to be read.
                batch.clear();
                self.settle()?;
                self.partitions.stop(Why::TopicMadeAnew);
            }
            if !batch.is_empty() {
                batch = self.publish(batch)?;
            }
            if event.is_some() {
                self.settle()?;
            }
            match event {
                Some(Event::Assigned(partitions)) => self.assigned(&partitions)?,
                Some(Event::Revoked { partitions, lost }) => self.revoked(&partitions, lost)?,
                Some(Event::OutOfRange) => self.partitions.stop(Why::OutOfRange),
                Some(Event::OtherLog) | None => {}
            }
            self.search_stopped()?;
        }
        self.settle().map(drop)
    }

    /// Looks at what others have done; true if the topic was made anew.
    ///
    /// # Errors
    ///
    /// A member of the group writes to another topic.
    fn topic_is_new(&mut self) -> anyhow::Result<bool> {
        match self.surroundings.look() {
            None => Ok(false),
            Some(Change::TopicMadeAnew) => Ok(true),
            Some(Change::OtherDestination(elsewhere)) => Err(other_destination(&elsewhere)),
        }
    }

    /// Takes in what has arrived; returns what else the poll brought.
    fn collect(&mut self, batch: &mut Batch<'s>) -> anyhow::Result<Option<Event>> {
        if self.held.any() {
            let partitions = &self.partitions;
            let next = |partition| partitions.next(partition);
            for partition in self.held.retry(self.consumer, next)? {
                self.partitions.resume(partition);
            }
        }
        let mut fetching = Duration::ZERO;
        while self.has_room(batch) && fetching < CLAIMS {
            let idle = batch.is_empty() && !self.outlet.is_busy();
            let wait = match (idle, self.searches.is_empty()) {
                (true, true) => IDLE,
                (true, false) => SEARCHING,
                (false, _) => Duration::ZERO,
            };
            match self.consumer.poll(wait)? {
                Polled::Record(record) => match self.take(batch, record)? {
                    Some(fetched) => fetching += fetched,
                    None => return Ok(Some(Event::OtherLog)),
                },
                Polled::End(_) => {}
                Polled::Idle if self.outlet.is_busy() => {
                    if self.settle()? == Some(Outcome::Undone) {
                        batch.clear();
                        break;
                    }
                }
                Polled::Idle => match self.pace.left(Instant::now()) {
                    Duration::ZERO => break,
                    _ if batch.is_empty() => break,
                    // Without polling: each record that comes would wake the worker.
                    left => thread::sleep(left),
                },
                Polled::Assigned(partitions) => return Ok(Some(Event::Assigned(partitions))),
                Polled::Revoked { partitions, lost } => {
                    return Ok(Some(Event::Revoked { partitions, lost }));
                }
                Polled::OutOfRange => return Ok(Some(Event::OutOfRange)),
            }
        }
        Ok(None)
    }

    /// Tells if more may be taken into the batch. Beyond [`ENOUGH`] it grows only while it has to wait for the one before it:
    /// a transaction over many partitions takes long, however few its records are.
    fn has_room(&mut self, batch: &Batch<'s>) -> bool {
        batch.len() < self.scoring.quota()
            && batch.bytes < BATCH_BYTES
            && (batch.len() < ENOUGH || self.outlet.is_publishing())
    }

    /// Takes a record into the batch; returns how long what it stands for had to be fetched, `None` if it is not of the
    /// log that was read before.
    fn take(
        &mut self,
        batch: &mut Batch<'s>,
        record: Record<'s>,
    ) -> anyhow::Result<Option<Duration>> {
        let (partition, offset) = (record.partition(), record.offset());
        let fingerprint = || record.fingerprint();
        match self.partitions.turn(partition, offset, fingerprint) {
            Turn::Take => {}
            Turn::Skip => return Ok(Some(Duration::ZERO)),
            Turn::Stop => return Ok(None),
        }
        let started = Instant::now();
        let content = if claim::is_claim(record.value()) {
            match self.shared.resolver.resolve(record.value()) {
                Ok(content) => content,
                Err(error) => {
                    self.partitions.block(partition);
                    self.held.hold(self.consumer, partition, &error)?;
                    return Ok(Some(started.elapsed()));
                }
            }
        } else {
            Content::Own
        };
        let fetched = started.elapsed();
        self.partitions
            .take(partition, offset, record.fingerprint());
        batch.push(self.scoring.decoder(), record, content);
        Ok(Some(fetched))
    }

    /// Scores a batch, and publishes it once the one before it is; returns an empty one.
    fn publish(&mut self, mut batch: Batch<'s>) -> anyhow::Result<Batch<'s>> {
        let scored = self.scoring.score(&mut batch);
        if self.settle()? == Some(Outcome::Undone) {
            batch.clear();
            return Ok(batch);
        }
        let positions = self.partitions.touched();
        self.partitions.handed_over();
        self.outlet.put(Work {
            batch,
            scored,
            positions,
        });
        Ok(mem::take(&mut self.spare))
    }

    /// Waits for the batch that is being published, if there is one. If it was undone, what was taken after it is to be
    /// dropped.
    fn settle(&mut self) -> anyhow::Result<Option<Outcome>> {
        let Some(done) = self.outlet.wait()? else {
            return Ok(None);
        };
        self.spare = done.batch;
        self.pace.took(done.began, done.ended);
        match done.outcome {
            Outcome::Committed => self.part.succeeded(),
            Outcome::Undone => {
                self.part.failed("the last batch could not be written");
                self.partitions.stop(Why::Undone);
            }
        }
        Ok(Some(done.outcome))
    }
}
