//! The loop of one worker thread: poll a batch, decode it in place, join features, score, publish
//! predictions and positions together, go on.
//!
//! A batch holds what has arrived since the one before it was taken: during the publishing of that one, which another
//! thread does, and during the pause that the pace asks for after it. A full batch waits for nothing. A rebalance is
//! answered when everything that was taken is published, so that no batch straddles it.
//!
//! [`batches`] says in which states a batch is, [`pipeline`] moves it; [`assignment`] owns the partitions; [`standing`]
//! reads the worker's readiness off both.

mod assignment;
mod batches;
mod pipeline;
mod standing;

use std::thread;
use std::time::{Duration, Instant};

use tidemill_core::claim::{self, Content};
use tidemill_core::health::Part;
use tidemill_core::kafka::{Change, Consumer, Polled, Record, Surroundings};
use tokio_util::sync::CancellationToken;

use self::assignment::Assignment;
use self::pipeline::Pipeline;
use crate::input::partitions::{Turn, Why};
use crate::output::delivery::{Delivery, Outcome};
use crate::output::outlet::Outlet;
use crate::run::other_destination;
use crate::scoring::Scoring;
use crate::settings::Config;
use crate::shared::Shared;

/// Time that a batch may spend on fetching claimed objects before it is published as it is.
const CLAIMS: Duration = Duration::from_millis(50);

/// Time that an idle worker waits for a record before it looks at its surroundings again.
const IDLE: Duration = Duration::from_millis(100);

/// The same while a look-up of its partitions is under way.
const SEARCHING: Duration = Duration::from_millis(5);

/// Something other than a record that ends a batch.
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

/// One worker.
struct Worker<'w, 's> {
    shared: &'s Shared,
    part: Part,
    consumer: &'s Consumer,
    assignment: Assignment<'w, 's>,
    scoring: Scoring,
    pipeline: Pipeline<'s>,
    surroundings: Surroundings,
    shutdown: CancellationToken,
}

/// Runs a worker until `shutdown`.
///
/// # Errors
///
/// The process ends after each.
pub fn run(number: usize, shared: &Shared, shutdown: CancellationToken) -> anyhow::Result<()> {
    let config = &shared.config;
    let part = shared.health.part(format!("worker {number}"));
    part.unready("waiting for the brokers' transaction coordinator");
    let Some(delivery) = Delivery::open(config, number, &shutdown)? else {
        return Ok(());
    };
    part.unready("joining the group");
    let consumer = join(config, number)?;
    let scoring = Scoring::new(shared)?;
    thread::scope(|scope| {
        let outlet = Outlet::open(scope, shared, &consumer, delivery, shutdown.clone());
        let name = part.name();
        let worker = Worker {
            shared,
            consumer: &consumer,
            assignment: Assignment::new(shared, name, &consumer, scope, shutdown.clone()),
            part,
            scoring,
            pipeline: Pipeline::new(outlet, config.commit_share),
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
        while !self.shutdown.is_cancelled() {
            self.pipeline.begin_again();
            self.scoring.follow(self.shared)?;
            self.assignment.start_found()?;
            self.assignment.give_up_absent()?;
            let event = self.collect()?;
            self.drop_void(event.as_ref())?;
            self.publish()?;
            if let Some(event) = event {
                self.settle()?;
                self.answer(event)?;
            }
            self.assignment.search_stopped()?;
            self.part
                .stands(self.assignment.standing(self.pipeline.states()));
        }
        self.settle()
    }

    /// Takes records into the batch as they arrive; returns what else the poll brought.
    fn collect(&mut self) -> anyhow::Result<Option<Event>> {
        self.assignment.retry_blocked()?;
        let mut fetching = Duration::ZERO;
        while self.pipeline.has_room(self.scoring.quota()) && fetching < CLAIMS {
            let publishing = self.pipeline.states().publishing().is_some();
            let wait = match (
                self.pipeline.is_empty() && !publishing,
                self.assignment.is_searching(),
            ) {
                (true, false) => IDLE,
                (true, true) => SEARCHING,
                (false, _) => Duration::ZERO,
            };
            match self.consumer.poll(wait)? {
                Polled::Record(record) => match self.take(record)? {
                    Some(fetched) => fetching += fetched,
                    None => return Ok(Some(Event::OtherLog)),
                },
                Polled::End(_) => {}
                Polled::Idle if publishing => self.settle()?,
                Polled::Idle => match self.pipeline.pause() {
                    Duration::ZERO => break,
                    _ if self.pipeline.is_empty() => break,
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

    /// Takes a record into the batch; returns the time that it took to fetch the object that the record names, `None`
    /// if the record is not of the log that was read before.
    fn take(&mut self, record: Record<'s>) -> anyhow::Result<Option<Duration>> {
        match self.assignment.turn(&record) {
            Turn::Take => {}
            Turn::Skip => return Ok(Some(Duration::ZERO)),
            Turn::Stop => return Ok(None),
        }
        let started = Instant::now();
        let content = if claim::is_claim(record.value()) {
            match self.shared.resolver.resolve(record.value()) {
                Ok(content) => content,
                Err(error) => {
                    self.assignment.block(record.partition(), &error)?;
                    return Ok(Some(started.elapsed()));
                }
            }
        } else {
            Content::Own
        };
        let fetched = started.elapsed();
        self.assignment.take(&record);
        self.pipeline.take(&self.scoring, record, content);
        Ok(Some(fetched))
    }

    /// Drops the batch where nothing may be written for its records any more.
    ///
    /// # Errors
    ///
    /// A member of the group writes to another topic.
    fn drop_void(&mut self, event: Option<&Event>) -> anyhow::Result<()> {
        if let Some(Event::Revoked { lost: true, .. }) = event {
            // Another member may own the lost partitions already, and the batch mixes their records with others.
            self.pipeline.drop_own();
            self.assignment.stop(Why::Undone);
        }
        match self.surroundings.look() {
            None => Ok(()),
            Some(Change::TopicMadeAnew) => {
                // Its records may be of the new log, whose first ones are still to be read.
                self.pipeline.drop_own();
                self.settle()?;
                self.assignment.stop(Why::TopicMadeAnew);
                Ok(())
            }
            Some(Change::OtherDestination(elsewhere)) => Err(other_destination(&elsewhere)),
        }
    }

    /// Scores the batch, and publishes it once the one before it has ended.
    fn publish(&mut self) -> anyhow::Result<()> {
        if !self.pipeline.is_empty() {
            self.pipeline.score(&mut self.scoring);
            self.settle()?;
            self.pipeline.hand_over(|| self.assignment.hand_over());
        }
        Ok(())
    }

    /// Waits until the batch that is published has ended, where there is one.
    fn settle(&mut self) -> anyhow::Result<()> {
        if self.pipeline.settle()? == Some(Outcome::Undone) {
            self.assignment.stop(Why::Undone);
        }
        Ok(())
    }

    /// Answers what a poll brought beside records. No batch is under way.
    fn answer(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Assigned(partitions) => self.assignment.assigned(&partitions),
            Event::Revoked { partitions, lost } => {
                self.pipeline.revoked();
                self.assignment.revoked(&partitions, lost)
            }
            Event::OutOfRange => {
                self.assignment.stop(Why::OutOfRange);
                Ok(())
            }
            Event::OtherLog => Ok(()),
        }
    }
}
