//! Handles what a poll returns: records, and partitions that the group assigns and revokes.

use super::Worker;
use crate::attach::attach;
use crate::setback::Setback;
use std::time::{Duration, Instant};
use tidemill_core::kafka::{Polled, in_words};

/// Pause of a worker without attached partitions; records polled meanwhile are dropped, and read again after a seek.
const WAIT: Duration = Duration::from_millis(10);
/// Timeout of a poll when nothing is under way; decay and signals are handled between two polls.
const IDLE: Duration = Duration::from_millis(50);

impl Worker {
    /// Polls once, and handles the result.
    pub(super) fn consume(&mut self) -> Result<(), Setback> {
        let busy = self.engine.is_under_way() || self.expiry.is_pressing();
        let quiet = self.idle && (self.batch.is_empty() && !busy || self.gathers());
        let wait = IDLE * u32::from(quiet);
        self.idle = false;
        match self.consumer.poll(wait).map_err(Setback::Fatal)? {
            Polled::Record(record) => {
                let member = (&mut self.assignment, &mut self.engine, &mut self.batch);
                self.intake.record(&self.consumer, &record, member)?;
            }
            Polled::End(partition) => {
                let (assignment, batch) = (&mut self.assignment, &mut self.batch);
                self.intake.ended(partition, assignment, batch);
            }
            Polled::Assigned(partitions) => self.assignment.assigned(&partitions),
            Polled::Revoked { partitions, lost } => self.revoked(&partitions, lost)?,
            Polled::OutOfRange => self.assignment.out_of_range()?,
            Polled::Idle => {
                self.intake.look(&self.batch);
                self.idle = true;
            }
        }
        Ok(())
    }

    /// True if the batch takes more records before it is committed.
    pub(super) fn is_filling(&self) -> bool {
        let more = !self.idle || self.gathers();
        more && !self.batch.is_full() && !self.intake.is_late()
    }

    /// True if the batch waits for records: windows are being built, and the log has more.
    fn gathers(&self) -> bool {
        self.batch.gathers() && self.assignment.has_more()
    }

    /// Attaches the partitions that wait, if their pause is over, and has the consumer read them.
    pub(super) fn attach(&mut self) -> Result<(), Setback> {
        if self.assignment.waiting().is_empty() {
            return Ok(());
        }
        let waiting = self.assignment.due(Instant::now());
        if waiting.is_empty() {
            // Other partitions go on while some wait that the topic does not have.
            if self.assignment.owned().next().is_none() {
                std::thread::sleep(WAIT);
            }
            return Ok(());
        }
        // A rebuild may take users out of memory.
        self.store()?;
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
                sought.map_err(|error| Setback::Brokers(in_words(&error)))?;
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
        let absent: Vec<i32> = self.assignment.waiting().iter().copied().collect();
        if !absent.is_empty() {
            self.consumer.give_up(&absent).map_err(Setback::Fatal)?;
        }
        let due = self.expiry.backlog();
        self.report.readiness(&self.assignment, due);
        Ok(())
    }

    /// Stores everything before partitions are revoked, or drops it if others may own them already.
    fn revoked(&mut self, partitions: &[i32], lost: bool) -> Result<(), Setback> {
        tracing::debug!(?partitions, lost, "partitions revoked");
        let written = match lost {
            true => Err(Setback::PartitionsLost),
            false => self.store(),
        };
        self.intake.unblock(&self.consumer, partitions)?;
        self.consumer.release(partitions).map_err(Setback::Fatal)?;
        self.engine.release(partitions);
        self.assignment.revoked(partitions);
        let due = self.expiry.backlog();
        self.report.readiness(&self.assignment, due);
        written
    }
}
