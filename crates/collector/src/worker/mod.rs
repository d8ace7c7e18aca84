//! The loop of one thread, in live and bounded runs alike: takes records from its partitions and sends full files on
//! their way.
//!
//! Nothing here waits for a file: lanes encode and publish beside it and report back, so that polling never stops
//! for longer than a question to broker or store takes.

pub(crate) mod goal;
pub(crate) mod intake;
pub(crate) mod memory;
mod pauses;
mod pending;
mod sampler;
mod starting;
mod ticks;

use crate::bounded::ends::Reached;
use crate::dataset::offset::Offset;
use crate::pipeline::Sink;
use crate::pipeline::retry::{Kind, kind};
use goal::Goal;
use intake::{Event, Intake};
use pauses::Pauses;
use pending::Pending;
use sampler::Sampler;
use std::time::{Duration, Instant};
use ticks::Ticks;
use tidemill_core::health::Part;
use tidemill_core::kafka::{Consumer, Polled, in_words, numbers};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longest time that a poll waits for a record.
const POLL: Duration = Duration::from_millis(50);

/// The same while nothing but a record can give the worker something to do.
const REST: Duration = Duration::from_millis(500);

/// Time limit for looking up where files end: the group expels a worker that is silent for 60 s.
const LOOKUP: Duration = Duration::from_secs(20);

/// Longest wait for files on their way, at a rebalance and at the end; the group waits meanwhile.
const DRAIN: Duration = Duration::from_secs(5);

/// One worker of a run.
pub(crate) struct Worker {
    part: Part,
    consumer: Consumer,
    intake: Intake,
    sink: Sink,
    goal: Goal,
    pending: Pending,
    pauses: Pauses,
    /// Takes the records while there is no schema.
    sampler: Option<Sampler>,
    ticks: Ticks,
    /// The time that the next poll waits.
    wait: Duration,
}

impl Worker {
    /// Worker `number` of a run, which collects towards `goal`.
    pub(crate) fn new(
        number: usize,
        consumer: Consumer,
        goal: Goal,
        intake: Intake,
        sink: &Sink,
    ) -> Self {
        let part = sink.health.part(format!("worker {number}"));
        part.unready("waiting for partitions");
        let mut pending = Pending::default();
        pending.add(goal.partitions());
        Self {
            part,
            consumer,
            intake,
            sink: sink.clone(),
            goal,
            pending,
            pauses: Pauses::none(),
            sampler: sink.data_set.frozen().is_none().then(Sampler::new),
            ticks: Ticks::from(Instant::now()),
            wait: POLL,
        }
    }

    /// Collects until stopped or until the goal is reached. A live run that is stopped publishes what is buffered;
    /// a bounded one leaves it: a tail cut there would make the data set another than that of a run that goes through.
    pub(crate) fn run(mut self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        while !shutdown.is_cancelled() {
            let polled = self.consumer.poll(self.wait)?;
            if !matches!(polled, Polled::Idle) {
                self.wait = POLL;
            }
            match polled {
                Polled::Record(record) => {
                    let (partition, offset) = (record.partition(), Offset::from(record.offset()));
                    match &mut self.sampler {
                        Some(sampler) => sampler.observe(&self.sink, record.value()),
                        None if self.goal.holds(partition, offset) => self.intake.take(&record)?,
                        None => {}
                    }
                    self.read_to(partition, Reached::Position(offset.next()))?;
                    if !self.ticks.record() && !self.intake.has_grown() {
                        continue;
                    }
                }
                Polled::Assigned(partitions) if partitions.is_empty() => self.part.ready(),
                Polled::Assigned(partitions) => {
                    self.part.unready("looking up positions");
                    self.pending.add(partitions);
                }
                Polled::Revoked { partitions, lost } => self.revoked(&partitions, lost)?,
                Polled::OutOfRange => self.return_to_range()?,
                Polled::End(partition) => self.read_to(partition, Reached::LogEnd)?,
                Polled::Idle => {}
            }
            let now = Instant::now();
            if self.ticks.due(now) || self.intake.has_grown() {
                self.tick(now)?;
                if self.is_done() {
                    return Ok(());
                }
            }
        }
        self.stop()
    }

    fn tick(&mut self, now: Instant) -> anyhow::Result<()> {
        self.sink.premises.check()?;
        metrics::counter!("tidemill_records_total").increment(self.intake.take_count());
        if self.ticks.tick(now) > 0 {
            self.pauses.records_arrive();
        }
        self.after_files()?;
        self.end_sampling()?;
        self.start_pending()?;
        if let Goal::Live { max_age } = self.goal {
            self.intake.cut_aged(max_age);
        }
        let intake = &self.intake;
        self.goal.report(|partition| intake.position(partition));
        let mut open = self.intake.open_partitions();
        open.retain(|partition| self.goal.is_reading(*partition));
        self.pauses.apply(&self.consumer, &mut self.intake, &open)?;
        let live = matches!(self.goal, Goal::Live { .. });
        let rests = live && self.pending.is_empty() && self.intake.is_at_rest();
        self.wait = if rests { REST } else { POLL };
        Ok(())
    }

    /// Begins to collect once there is a schema: the records that were looked at so far are read again.
    fn end_sampling(&mut self) -> anyhow::Result<()> {
        if self.sampler.is_none() {
            return Ok(());
        }
        self.freeze()?;
        if self.sink.data_set.frozen().is_some() {
            self.sampler = None;
            let open = self.intake.open_partitions();
            open.iter()
                .for_each(|partition| self.intake.close(*partition, true));
            self.pending.add(open);
        }
        Ok(())
    }

    /// Freezes the schema of the records so far, once they are enough. The store may be away: then it is tried again.
    fn freeze(&mut self) -> anyhow::Result<()> {
        let freezer = self.sink.data_set.freezer();
        if !freezer.is_due() {
            return Ok(());
        }
        let freeze = async { timeout(LOOKUP, freezer.freeze_sample()).await };
        let frozen = self.sink.runtime.block_on(freeze);
        match frozen.unwrap_or_else(|silent| Err(std::io::Error::from(silent).into())) {
            Err(error) if kind(&error) == Kind::Retry => {
                let error = in_words(&error);
                tracing::warn!("cannot freeze the schema yet: {error}");
                self.part.failed(format!("freezing the schema: {error}"));
                Ok(())
            }
            Ok(()) => {
                self.part.succeeded();
                Ok(())
            }
            fault => fault,
        }
    }

    fn is_done(&self) -> bool {
        self.goal.is_reached()
            && self.pending.is_empty()
            && self.intake.is_settled(&self.intake.open_partitions())
    }

    /// Notes how far a partition was read. At the end of its range what is buffered is its last file.
    fn read_to(&mut self, partition: i32, reached: Reached) -> anyhow::Result<()> {
        if self.goal.read_to(partition, reached) {
            self.intake.cut(partition);
            self.consumer.pause(&[partition])?;
        }
        Ok(())
    }

    /// Tells the group of a live run how far its partitions are.
    fn hint(&self, positions: &[(i32, Offset)]) {
        if let Goal::Live { .. } = self.goal {
            self.consumer.commit_hint(positions);
        }
    }

    /// Partitions went to other workers. What is buffered is theirs to read again; what is on its way may arrive,
    /// so that they need not repeat it, unless they are at work already.
    fn revoked(&mut self, partitions: &[i32], lost: bool) -> anyhow::Result<()> {
        let numbers = numbers(partitions);
        match lost {
            false => tracing::info!(partitions = numbers, "partitions go to other workers"),
            true => tracing::warn!(
                partitions = numbers,
                "the group gave partitions to others: it did not hear of this worker in time"
            ),
        }
        if !lost {
            self.drain(partitions)?;
        }
        self.pending.remove(partitions);
        self.pauses.forget(partitions);
        for partition in partitions {
            self.intake.close(*partition, true);
        }
        if self.pending.is_empty() {
            self.part.succeeded();
            self.part.ready();
        }
        self.consumer.release(partitions)
    }

    /// Waits, not for long, until files of these partitions have arrived.
    fn drain(&mut self, partitions: &[i32]) -> anyhow::Result<()> {
        let deadline = Instant::now() + DRAIN;
        loop {
            self.after_files()?;
            if self.intake.is_settled(partitions) || Instant::now() >= deadline {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn after_files(&mut self) -> anyhow::Result<()> {
        for event in self.intake.events()? {
            match event {
                Event::Published(footer) => {
                    self.goal.published(&footer);
                    self.hint(&[(footer.partition, footer.next)]);
                }
                Event::Superseded { partition, next } => {
                    tracing::info!(
                        partition,
                        next = i64::from(next),
                        "a peer was first, going on after its file"
                    );
                    self.goal.reopen(partition);
                    self.pending.add([partition]);
                }
            }
        }
        Ok(())
    }

    fn stop(mut self) -> anyhow::Result<()> {
        self.part.unready("stopping");
        if let Goal::Bounded { .. } = self.goal {
            tracing::warn!("stopped before the end; the same call goes on from here");
            return Ok(());
        }
        let open = self.intake.open_partitions();
        open.iter()
            .for_each(|partition| self.intake.cut(*partition));
        self.drain(&open)?;
        if !self.intake.is_settled(&open) {
            tracing::warn!(
                "the store did not take the last files in time; their records will be read again"
            );
        }
        Ok(())
    }
}
