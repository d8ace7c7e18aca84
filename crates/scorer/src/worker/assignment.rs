//! A worker's partitions: taken up where the group stands, let go, and gone back to after a batch was not published.

use std::thread::ScopedJoinHandle;

use anyhow::anyhow;
use tokio_util::sync::DropGuard;

use super::{IDLE, Worker};
use crate::start;

/// A look-up of where partitions are to be read from, on a thread of its own.
///
/// The brokers keep the positions to themselves while a transaction that a killed member left behind is open, for
/// seconds. The worker's other partitions must not wait for that.
pub(super) struct Search<'w> {
    partitions: Vec<i32>,
    stop: DropGuard,
    thread: ScopedJoinHandle<'w, Option<Vec<(i32, i64)>>>,
}

impl Search<'_> {
    /// Ends it and returns what it was about. It may take as long as one question to the brokers.
    fn stop(self) -> Vec<i32> {
        drop(self.stop);
        // Found or not: it is looked up again.
        drop(self.thread.join());
        self.partitions
    }
}

impl Worker<'_, '_> {
    /// Takes note of assigned partitions, and looks up where they are to be read from. None at all is an assignment too.
    pub(super) fn assigned(&mut self, partitions: &[i32]) -> anyhow::Result<()> {
        if partitions.is_empty() {
            tracing::info!(worker = self.part, "no partition for this worker");
            self.shared.health.ready(&self.part);
            return Ok(());
        }
        // The answer to the group; they are started once they are found.
        self.consumer.start(&[])?;
        self.search(partitions.to_vec());
        Ok(())
    }

    fn search(&mut self, partitions: Vec<i32>) {
        let reason = format!("looking up where to read partitions {partitions:?}");
        self.shared.health.unready(&self.part, reason);
        let (consumer, shared) = (self.consumer, self.shared);
        let stop = self.shutdown.child_token();
        let (wanted, stopped) = (partitions.clone(), stop.clone());
        let look_up = move || {
            let (count, from) = (shared.partitions, shared.config.start);
            start::positions(consumer, &wanted, count, from, &stopped)
        };
        self.searches.push(Search {
            partitions,
            stop: stop.drop_guard(),
            thread: self.scope.spawn(look_up),
        });
    }

    /// Starts the partitions whose positions have been found meanwhile.
    pub(super) fn start_found(&mut self) -> anyhow::Result<()> {
        let finished = |search: &Search<'_>| search.thread.is_finished();
        while let Some(index) = self.searches.iter().position(finished) {
            let search = self.searches.swap_remove(index);
            let found = search.thread.join();
            let found = found.map_err(|_| anyhow!("looking up positions panicked"))?;
            let Some(positions) = found else { continue };
            tracing::info!(worker = self.part, ?positions, "partitions assigned");
            for (partition, position) in &positions {
                self.positions.set(*partition, *position);
            }
            self.consumer.start(&positions)?;
            if self.searches.is_empty() {
                self.shared.health.ready(&self.part);
            }
        }
        Ok(())
    }

    /// Lets partitions go; what was taken from them is published or dropped by now.
    pub(super) fn revoked(&mut self, partitions: &[i32], lost: bool) -> anyhow::Result<()> {
        tracing::info!(worker = self.part, ?partitions, lost, "partitions revoked");
        // A look-up may commit a first start: it must end before there can be another owner.
        let searched: Vec<i32> = self.searches.drain(..).flat_map(Search::stop).collect();
        let kept = |partition: &i32| !partitions.contains(partition);
        let open: Vec<i32> = searched.iter().copied().filter(kept).collect();
        let remove = |partition: &i32| self.positions.remove(*partition);
        let started: Vec<i32> = partitions.iter().copied().filter(remove).collect();
        self.held.forget(self.consumer, &started)?;
        self.consumer.release(&started)?;
        if !open.is_empty() {
            self.search(open);
        } else if !searched.is_empty() {
            self.shared.health.ready(&self.part);
        }
        Ok(())
    }

    /// Goes on where the group stands, after a batch that was not published.
    pub(super) fn go_back(&mut self) -> anyhow::Result<()> {
        let partitions: Vec<i32> = self.positions.all().into_iter().map(|(id, _)| id).collect();
        self.positions.committed();
        self.held.forget(self.consumer, &partitions)?;
        let committed = loop {
            match self.consumer.committed(&partitions, start::ANSWER) {
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
    pub(super) fn find_way_back(&mut self) {
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
            metrics::counter!("tidemill_lost_records_total").increment(lost as u64);
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
