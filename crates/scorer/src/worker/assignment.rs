//! A worker's partitions: taken up where the group stands, let go, and searched again once they are stopped.

use std::thread::ScopedJoinHandle;

use anyhow::anyhow;
use tokio_util::sync::DropGuard;

use super::Worker;
use crate::input::start::{self, Begin, Question};

/// A look-up of where partitions are to be read from, on a thread of its own.
///
/// The brokers keep the positions to themselves while a transaction that a killed member left behind is open, for
/// seconds. The worker's other partitions must not wait for that.
pub(super) struct Search<'w> {
    stop: DropGuard,
    thread: ScopedJoinHandle<'w, Option<Vec<Begin>>>,
}

impl Search<'_> {
    /// Ends it. It may take as long as one question to the brokers.
    fn stop(self) {
        drop(self.stop);
        // Found or not: what is kept is looked up again.
        drop(self.thread.join());
    }
}

impl Worker<'_, '_> {
    /// Takes note of assigned partitions, and looks up where they are to be read from. None at all is an assignment too.
    pub(super) fn assigned(&mut self, partitions: &[i32]) -> anyhow::Result<()> {
        if partitions.is_empty() {
            tracing::info!(worker = self.part.name(), "no partition for this worker");
            self.tell_health();
            return Ok(());
        }
        // The answer to the group; they are started once they are found.
        self.consumer.start(&[])?;
        for partition in partitions {
            self.partitions.assign(*partition);
        }
        self.search(partitions.to_vec());
        Ok(())
    }

    /// Looks up where partitions that are assigned but not started are to be read from.
    fn search(&mut self, partitions: Vec<i32>) {
        let (consumer, shared) = (self.consumer, self.shared);
        let stop = self.shutdown.child_token();
        let stopped = stop.clone();
        let other = |partition: &i32| Some((*partition, self.partitions.other_record(*partition)?));
        let found = partitions.iter().filter_map(other).collect();
        let look_up = move || {
            let question = Question {
                assigned: &partitions,
                count: shared.partitions,
                start: shared.config.start,
                topic: shared.topic,
                found: &found,
            };
            start::positions(consumer, &question, &stopped)
        };
        self.searches.push(Search {
            stop: stop.drop_guard(),
            thread: self.scope.spawn(look_up),
        });
        self.tell_health();
    }

    /// Says on the readiness page what keeps this worker from its work.
    pub(super) fn tell_health(&self) {
        let searched = self.partitions.searching();
        if !searched.is_empty() {
            let reason = format!("looking up where to read partitions {searched:?}");
            self.part.unready(reason);
        } else {
            self.part.ready();
        }
    }

    /// Starts the partitions whose positions have been found meanwhile.
    pub(super) fn start_found(&mut self) -> anyhow::Result<()> {
        let finished = |search: &Search<'_>| search.thread.is_finished();
        while let Some(index) = self.searches.iter().position(finished) {
            let search = self.searches.swap_remove(index);
            let found = search.thread.join();
            let found = found.map_err(|_| anyhow!("looking up positions panicked"))?;
            let Some(begins) = found else { continue };
            let mut positions = Vec::new();
            let mut reads = Vec::new();
            for begin in &begins {
                let partition = begin.partition;
                self.partitions.found(partition, begin.position);
                positions.push((partition, begin.position.next));
                reads.push((partition, begin.reads_from()));
            }
            tracing::info!(worker = self.part.name(), ?positions, "partitions assigned");
            self.consumer.start(&reads)?;
            self.tell_health();
        }
        Ok(())
    }

    /// Lets partitions go; what was taken from them is published or dropped by now.
    pub(super) fn revoked(&mut self, partitions: &[i32], lost: bool) -> anyhow::Result<()> {
        tracing::info!(
            worker = self.part.name(),
            ?partitions,
            lost,
            "partitions revoked"
        );
        // A look-up may commit a first start: it must end before there can be another owner.
        self.searches.drain(..).for_each(Search::stop);
        let remove = |partition: &i32| self.partitions.remove(*partition);
        let started: Vec<i32> = partitions.iter().copied().filter(remove).collect();
        self.let_go(&started)?;
        let kept = self.partitions.searching();
        if !kept.is_empty() {
            self.search(kept);
        }
        // The batch may be another's to write now.
        self.part.succeeded();
        self.tell_health();
        Ok(())
    }

    /// Looks up where partitions that are stopped go on.
    pub(super) fn search_stopped(&mut self) -> anyhow::Result<()> {
        let stopped = self.partitions.search_stopped();
        if !stopped.is_empty() {
            self.let_go(&stopped)?;
            self.search(stopped);
        }
        Ok(())
    }

    /// Has the client read these no longer.
    fn let_go(&mut self, started: &[i32]) -> anyhow::Result<()> {
        self.held.forget(self.consumer, started)?;
        self.consumer.release(started)
    }
}
