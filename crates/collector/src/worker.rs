//! The loop of one thread of a live run: takes records from its partitions and sends full files on their way.
//!
//! Nothing here waits for a file: lanes encode and publish beside it and report back, so that polling never stops
//! for longer than a question to broker or store takes.

use crate::dataset::resume;
use crate::intake::{Event, Intake};
use crate::lane::Sink;
use crate::memory::Share;
use crate::pauses::Pauses;
use crate::settings::Config;
use std::time::{Duration, Instant};
use tidemill_core::exit::{Code, Failure};
use tidemill_core::health::Part;
use tidemill_core::kafka::{Consumer, Polled};
use tokio_util::sync::CancellationToken;

/// How long a poll waits for a record.
const POLL: Duration = Duration::from_millis(50);

/// How often a worker looks after what is not a record.
const TICK: Duration = Duration::from_millis(50);

/// How long a failed start of partitions waits for the next try.
const AGAIN: Duration = Duration::from_secs(1);

/// How long files on their way are waited for at a rebalance and at the end; the group waits along.
const DRAIN: Duration = Duration::from_secs(5);

/// One worker of a live run.
pub(crate) struct Worker {
    part: Part,
    consumer: Consumer,
    intake: Intake,
    sink: Sink,
    max_age: Duration,
    /// Assigned, but not started yet, because broker or store did not answer.
    waiting: Vec<i32>,
    /// Partitions that a peer wrote to, and where to go on.
    overtaken: Vec<(i32, i64)>,
    next_try: Instant,
    pauses: Pauses,
    records: u64,
}

impl Worker {
    /// Joins the group.
    pub(crate) fn open(
        number: usize,
        config: &Config,
        sink: &Sink,
        max_age: Duration,
    ) -> anyhow::Result<Self> {
        let shared = &config.shared;
        let part = sink.health.part(format!("worker {number}"));
        part.unready("joining the group");
        let share = Share::of(config.memory, shared.workers);
        let kafka = shared.kafka.with_prefetch(share.fetched);
        let writes_to = format!("data set {}", sink.store);
        Ok(Self {
            part,
            consumer: Consumer::open(&kafka, &shared.group, &shared.topic, &writes_to)?,
            intake: Intake::new(number, sink.clone(), config.rows, share.buffered),
            sink: sink.clone(),
            max_age,
            waiting: Vec::new(),
            overtaken: Vec::new(),
            next_try: Instant::now(),
            pauses: Pauses::none(),
            records: 0,
        })
    }

    /// Collects until told to stop, then publishes what is buffered and leaves the group.
    pub(crate) fn run(mut self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let mut tick = Instant::now();
        while !shutdown.is_cancelled() {
            match self.consumer.poll(POLL)? {
                Polled::Record(record) => {
                    self.intake.take(&record)?;
                    self.records += 1;
                    // Looking at the clock for each record would cost more than taking it.
                    if !self.records.is_multiple_of(256) {
                        continue;
                    }
                    self.pauses.records_arrive();
                }
                Polled::Assigned(partitions) if partitions.is_empty() => {
                    self.part.ready();
                }
                Polled::Assigned(partitions) => {
                    self.waiting.extend(partitions);
                    self.next_try = Instant::now();
                    self.part.unready("looking up positions");
                }
                Polled::Revoked { partitions, lost } => self.revoked(&partitions, lost)?,
                Polled::OutOfRange => self.return_to_range()?,
                Polled::End(_) | Polled::Idle => {}
            }
            if tick.elapsed() >= TICK {
                tick = Instant::now();
                self.tick()?;
            }
        }
        self.stop()
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        metrics::counter!("tidemill_records_total").increment(std::mem::take(&mut self.records));
        if Instant::now() >= self.next_try {
            self.start()?;
        }
        self.after_files()?;
        self.intake.cut_aged(self.max_age);
        let open = self.intake.open_partitions();
        self.pauses.apply(&self.consumer, &mut self.intake, &open)
    }

    /// Starts waiting partitions where their files end. Broker or store may be away: then it is tried again later.
    fn start(&mut self) -> anyhow::Result<()> {
        for (partition, next) in std::mem::take(&mut self.overtaken) {
            match self.consumer.seek(partition, next) {
                Ok(()) => {
                    self.consumer.resume(&[partition])?;
                    self.pauses.forget(&[partition]);
                    self.intake.open(partition, next, None);
                }
                Err(error) => {
                    tracing::warn!("{error:#}");
                    self.overtaken.push((partition, next));
                    self.next_try = Instant::now() + AGAIN;
                }
            }
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        match self.start_waiting() {
            Ok(()) => self.part.ready(),
            Err(error) if Failure::code(&error) == Code::Usage => return Err(error),
            Err(error) => {
                tracing::warn!(again_in = ?AGAIN, "cannot start partitions yet: {error:#}");
                self.part.unready(format!("{error:#}"));
                self.next_try = Instant::now() + AGAIN;
            }
        }
        Ok(())
    }

    fn start_waiting(&mut self) -> anyhow::Result<()> {
        let lookup = resume::positions(&self.sink, &self.waiting);
        let ends = self.sink.runtime.block_on(lookup)?;
        let mut starts = Vec::with_capacity(ends.len());
        for (partition, position) in ends {
            let (oldest, end) = self.consumer.log_range(partition)?;
            let position = position.unwrap_or(0);
            let start = resume::start(&self.sink, partition, position, oldest, end)?;
            starts.push((partition, position, start));
        }
        let positions: Vec<(i32, i64)> = starts
            .iter()
            .map(|(own, _, start)| (*own, *start))
            .collect();
        self.consumer.start(&positions)?;
        self.consumer.commit_hint(&positions);
        tracing::info!(?positions, "partitions assigned");
        for (partition, position, start) in starts {
            let gap = (position < start).then_some((position, start));
            self.intake.open(partition, start, gap);
        }
        self.waiting.clear();
        Ok(())
    }

    /// Partitions went to other workers. What is buffered is theirs to read again; what is on its way may arrive,
    /// so that they need not repeat it, unless they are at work already.
    fn revoked(&mut self, partitions: &[i32], lost: bool) -> anyhow::Result<()> {
        tracing::info!(?partitions, lost, "partitions revoked");
        let kept = |own: &i32| !partitions.contains(own);
        self.waiting.retain(kept);
        self.overtaken.retain(|(own, _)| kept(own));
        self.pauses.forget(partitions);
        if !lost {
            self.drain(partitions)?;
        }
        for partition in partitions {
            self.intake.close(*partition, true);
        }
        self.consumer.release(partitions)
    }

    /// Waits, not for long, until files of these partitions have arrived.
    fn drain(&mut self, partitions: &[i32]) -> anyhow::Result<()> {
        let deadline = Instant::now() + DRAIN;
        while !self.intake.is_settled(partitions) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
            self.after_files()?;
        }
        Ok(())
    }

    /// The log begins after a position: retention was faster than we, or the topic is another.
    fn return_to_range(&mut self) -> anyhow::Result<()> {
        for partition in self.intake.open_partitions() {
            let Some(position) = self.intake.position(partition) else {
                continue;
            };
            let range = self.consumer.log_range(partition);
            let Ok((oldest, end)) = range else {
                // Tried again: the consumer says so again until the partition is sought.
                continue;
            };
            let start = resume::start(&self.sink, partition, position, oldest, end)?;
            // Also where the log covers the position again by now: reading has stopped there.
            self.consumer.seek(partition, start)?;
            if start > position {
                self.intake.skip(partition, start);
            }
        }
        Ok(())
    }

    fn after_files(&mut self) -> anyhow::Result<()> {
        for event in self.intake.events()? {
            match event {
                Event::Published(footer) => {
                    self.consumer
                        .commit_hint(&[(footer.partition, footer.next)]);
                }
                Event::Superseded { partition, next } => {
                    tracing::info!(partition, next, "a peer was first, going on after its file");
                    self.overtaken.push((partition, next));
                    self.next_try = Instant::now();
                }
            }
        }
        Ok(())
    }

    fn stop(mut self) -> anyhow::Result<()> {
        self.part.unready("stopping");
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
