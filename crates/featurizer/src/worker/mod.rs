//! The loop of a worker thread: takes records, commits them, evaluates silent users; goes back after a setback.
//!
//! - `consume`: records, and partitions that the group assigns and revokes

mod consume;

use crate::assignment::Assignment;
use crate::attach::build_again;
use crate::batch::Batch;
use crate::engine::{Engine, Extent, Occasion};
use crate::expiry::Expiry;
use crate::intake::Intake;
use crate::report::Report;
use crate::setback::Setback;
use crate::store::Redis;
use std::time::Instant;
use tidemill_core::kafka::Consumer;
use tokio_util::sync::CancellationToken;

/// One worker. It owns its partitions; workers share nothing.
pub(crate) struct Worker {
    consumer: Consumer,
    intake: Intake,
    batch: Batch,
    assignment: Assignment,
    engine: Engine<Redis>,
    expiry: Expiry,
    report: Report,
    idle: bool,
}

impl Worker {
    /// A worker that reads from `consumer`. `instance` is drawn at random.
    pub(crate) fn new(
        consumer: Consumer,
        intake: Intake,
        engine: Engine<Redis>,
        report: Report,
        instance: u64,
    ) -> Self {
        Self {
            consumer,
            intake,
            batch: Batch::default(),
            assignment: Assignment::new(instance),
            engine,
            expiry: Expiry::default(),
            report,
            idle: false,
        }
    }

    /// Works until `shutdown` is cancelled; then stores what was read and leaves the group.
    pub(crate) fn run(mut self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        while !shutdown.is_cancelled() {
            if let Err(setback) = self.turn() {
                self.go_back(setback)?;
            }
        }
        match self.store() {
            Ok(()) => self.consumer.commit_hint(&self.assignment.positions()),
            // The next worker resumes at the stored positions.
            Err(setback) => tracing::warn!(reason = setback.reason(), "stopping early"),
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Setback> {
        self.consume()?;
        self.intake.retry(&self.consumer, &self.assignment)?;
        self.attach()?;
        if self.is_filling() {
            return Ok(());
        }
        if self.idle {
            self.settle()?;
        } else {
            self.flush()?;
        }
        self.engine.checkpoint(&mut self.assignment, Extent::Due)?;
        self.batch.begin(self.assignment.span());
        let member = (&mut self.assignment, &mut self.engine);
        build_again(Instant::now(), member, &self.consumer)?;
        let member = (&mut self.batch, &mut self.assignment, &mut self.engine);
        self.expiry.run(Instant::now(), self.idle, member)?;
        self.report.tally(self.engine.take_tally());
        self.report.rejected(self.intake.rejections());
        let member = (&self.consumer, &self.assignment, &self.engine);
        self.report.tell(member, &self.expiry)
    }

    /// Commits the batch; the outcome of its last transaction is read later.
    fn flush(&mut self) -> Result<(), Setback> {
        self.intake.acknowledge()?;
        self.engine
            .commit(&mut self.batch, &mut self.assignment, Occasion::Records)
    }

    /// Commits the batch, and waits for the outcome.
    fn settle(&mut self) -> Result<(), Setback> {
        self.flush()?;
        self.engine.settle(&mut self.assignment)
    }

    /// Commits the batch, and stores all windows: others may take over.
    fn store(&mut self) -> Result<(), Setback> {
        self.flush()?;
        self.engine.checkpoint(&mut self.assignment, Extent::All)?;
        self.engine.settle(&mut self.assignment)
    }

    /// Drops everything that is not stored, and has all partitions attached again: the response to every setback.
    fn go_back(&mut self, setback: Setback) -> anyhow::Result<()> {
        if let Setback::Fatal(error) = setback {
            return Err(error);
        }
        if setback.leaves_the_store() {
            let stored = self
                .engine
                .checkpoint(&mut self.assignment, Extent::All)
                .and_then(|()| self.engine.settle(&mut self.assignment));
            if let Err(also) = stored {
                tracing::debug!(reason = also.reason(), "windows are not stored");
            }
        }
        self.assignment
            .go_back(&setback, self.batch.progress(), Instant::now());
        self.batch.clear();
        self.intake.go_back();
        self.engine.go_back();
        self.expiry.go_back();
        self.report.setback(&setback, &self.assignment);
        Ok(())
    }
}
