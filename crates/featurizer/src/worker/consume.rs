//! What Kafka brings a worker: records, and partitions that the group gives and takes away.

use super::Worker;
use crate::attach::attach;
use crate::batch::Span;
use crate::setback::Setback;
use std::time::{Duration, Instant};
use tidemill_core::kafka::Polled;

/// The pause of a worker whose partitions wait: records that arrive meanwhile are read again.
const WAIT: Duration = Duration::from_millis(10);
/// The wait of a poll when nothing is under way; decay and signals are looked after in between.
const IDLE: Duration = Duration::from_millis(50);

impl Worker {
    /// Takes what comes next, if anything does.
    pub(super) fn consume(&mut self) -> Result<(), Setback> {
        let busy = self.engine.is_under_way() || self.expiry.is_pressing();
        let quiet = self.idle && self.batch.is_empty() && !busy;
        let wait = IDLE * u32::from(quiet);
        self.idle = false;
        match self.consumer.poll(wait).map_err(Setback::Fatal)? {
            Polled::Record(record) => {
                let member = (&mut self.assignment, &mut self.engine, &mut self.batch);
                self.intake.record(&self.consumer, &record, member)?;
            }
            Polled::End(partition) => self.intake.ended(partition, &mut self.assignment),
            Polled::Assigned(partitions) => self.assignment.assigned(&partitions),
            Polled::Revoked { partitions, lost } => self.revoked(&partitions, lost)?,
            Polled::OutOfRange => self.assignment.out_of_range()?,
            Polled::Idle => self.idle = true,
        }
        Ok(())
    }

    /// Attaches the partitions that wait, if it is time to, and has them read.
    pub(super) fn attach(&mut self) -> Result<(), Setback> {
        if self.assignment.waiting().is_empty() {
            return Ok(());
        }
        let waiting = self.assignment.due(Instant::now());
        if waiting.is_empty() {
            // Beside partitions that the topic does not have, others are read.
            if self.assignment.owned().next().is_none() {
                std::thread::sleep(WAIT);
            }
            return Ok(());
        }
        self.settle()?;
        let attached = attach(
            &waiting,
            &mut self.assignment,
            &mut self.engine,
            &self.consumer,
        )?;
        let mut new = Vec::new();
        for own in attached {
            tracing::info!(
                partition = own.partition,
                offset = own.read_from,
                "partition attached"
            );
            self.report.lost(own.lost);
            if own.seek {
                let sought = self.consumer.seek(own.partition, own.read_from);
                sought.map_err(|error| Setback::Brokers(format!("{error:#}")))?;
                self.intake.unblock(&self.consumer, &[own.partition])?;
            } else {
                new.push((own.partition, own.read_from));
            }
        }
        if !self.assignment.waiting().is_empty() {
            let absent = self.assignment.put_off(Instant::now()).into_iter();
            new.extend(absent.map(|id| (id, 0)));
        }
        if !new.is_empty() {
            self.consumer.start(&new).map_err(Setback::Fatal)?;
        }
        let absent = self.assignment.waiting();
        if !absent.is_empty() && self.report.absent(absent) {
            self.consumer.rejoin().map_err(Setback::Fatal)?;
        }
        // Users of these may be ahead.
        self.batch.begin(Span::One);
        self.report.readiness(&self.assignment);
        Ok(())
    }

    /// Commits what was read of partitions that go, or drops it where others may have them already.
    fn revoked(&mut self, partitions: &[i32], lost: bool) -> Result<(), Setback> {
        tracing::debug!(?partitions, lost, "partitions revoked");
        let written = match lost {
            true => Err(Setback::PartitionsLost),
            false => self.settle(),
        };
        self.intake.unblock(&self.consumer, partitions)?;
        self.consumer.release(partitions).map_err(Setback::Fatal)?;
        self.engine.release(partitions);
        self.assignment.revoked(partitions);
        self.report.readiness(&self.assignment);
        written
    }
}
