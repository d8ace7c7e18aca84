//! Starts a worker's partitions, and restarts them after the consumer has stopped: asks store and broker for positions.

use super::{LOOKUP, Worker};
use crate::bounded::ends::Reached;
use crate::dataset::offset::Offset;
use crate::dataset::resume;
use crate::dataset::start::{Start, start};
use crate::pipeline::retry::{Kind, kind};
use anyhow::Context;
use std::collections::BTreeMap;
use std::time::Instant;
use tidemill_core::kafka::{Log, LogRange, StoredPosition, in_words, places};
use tokio::time::timeout;

impl Worker {
    /// Starts waiting partitions where their files end. Broker or store may be away: then it is tried again later.
    pub(super) fn start_pending(&mut self) -> anyhow::Result<()> {
        let due = self.pending.due(Instant::now());
        if due.is_empty() {
            return Ok(());
        }
        let part = self.part.clone();
        let busy = part.busy();
        let started = self.start(&due);
        drop(busy);
        match started {
            Ok(()) => {
                self.part.succeeded();
                self.part.ready();
                Ok(())
            }
            Err(error) if kind(&error) == Kind::Retry => {
                let error = in_words(&error);
                tracing::warn!("cannot start partitions yet: {error}");
                self.part.failed(format!("starting partitions: {error}"));
                self.pending.failed(Instant::now());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn start(&mut self, due: &[i32]) -> anyhow::Result<()> {
        let lookup = async { timeout(LOOKUP, resume::positions(&self.sink.data_set, due)).await };
        let found = self.sink.runtime.block_on(lookup);
        let found = found.map_err(std::io::Error::from);
        let found =
            found.with_context(|| format!("no answer from {}", self.sink.data_set.store()))??;
        let logs = self.consumer.log_ranges(due)?;
        let mut starts = Vec::with_capacity(found.len());
        for (partition, position) in found {
            let position = position.unwrap_or_else(|| self.goal.begin(partition).into());
            starts.push((partition, self.fit(partition, position, &logs)?));
        }
        let (known, new): (Vec<_>, Vec<_>) = starts
            .iter()
            .map(|(partition, start)| (*partition, start.read_from().into()))
            .partition(|(partition, _)| self.pending.is_assigned(*partition));
        if !new.is_empty() {
            self.consumer.start(&new)?;
        }
        for (partition, position) in known {
            self.consumer.seek(partition, position)?;
            self.consumer.resume(&[partition])?;
            self.pauses.forget(&[partition]);
        }
        let positions = starts.iter().map(|(own, start)| (*own, start.position));
        let positions: Vec<(i32, Offset)> = positions.collect();
        tracing::info!(positions = places(&positions), "partitions started");
        self.hint(&positions);
        for (partition, start) in starts {
            let reached = Reached::Position(start.position);
            self.pending.started(partition);
            self.intake.open(partition, start);
            self.goal.reopen(partition);
            self.read_to(partition, reached)?;
        }
        Ok(())
    }

    /// The start of a partition that has this position.
    fn fit(
        &self,
        partition: i32,
        position: StoredPosition<u64>,
        logs: &BTreeMap<i32, LogRange>,
    ) -> anyhow::Result<Start> {
        let range = logs.get(&partition);
        let log = Log {
            topic: self.sink.data_set.topic().id,
            range: *range.with_context(|| format!("no log of partition {partition}"))?,
            last: None,
        };
        let found = start(position, log);
        let data_set = &self.sink.data_set;
        let found =
            found.map_err(|fit| data_set.of_another_log(partition, position.next.into(), fit))?;
        if let Some(gap) = &found.gap {
            tracing::warn!(
                partition,
                from = i64::from(gap.start),
                to = i64::from(gap.end),
                "retention has deleted records before they were collected"
            );
        }
        Ok(found)
    }

    /// The position of some partition is outside of its log: retention was faster than we, or the log is another.
    pub(super) fn return_to_range(&mut self) -> anyhow::Result<()> {
        let part = self.part.clone();
        let busy = part.busy();
        let sought = self.seek_stopped();
        drop(busy);
        match sought {
            Err(error) if kind(&error) == Kind::Retry => {
                // The consumer says so again until each partition is sought.
                tracing::debug!("{error:#}");
                Ok(())
            }
            sought => sought,
        }
    }

    fn seek_stopped(&mut self) -> anyhow::Result<()> {
        let open = self.intake.open_partitions();
        let logs = self.consumer.log_ranges(&open)?;
        for partition in open {
            let Some(position) = self.intake.stored_position(partition) else {
                continue;
            };
            let start = self.fit(partition, position, &logs)?;
            // Also where the log covers the position: reading has stopped there.
            self.consumer.seek(partition, start.read_from().into())?;
            let reached = Reached::Position(start.position);
            self.intake.go_on(partition, start);
            self.read_to(partition, reached)?;
        }
        Ok(())
    }
}
