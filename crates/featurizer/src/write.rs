//! From a batch to the store: one step, or several where more has arrived than one step takes.

use crate::apply::Occasion;
use crate::position::share;
use crate::store::{Lost, Outcome};
use crate::worker::{OTHERS, State};
use std::ops::Range;
use std::time::{Duration, Instant};
use tidemill_core::clock::now_ms;
use tidemill_core::metric::stage;

/// How long dead letters may take to be acknowledged before their batch is done over.
const LETTERS: Duration = Duration::from_secs(5);

impl State {
    /// Applies the batch and sends its steps; the outcome of the last is looked at before the next.
    pub(crate) fn flush(&mut self, occasion: Occasion) -> anyhow::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if self.batch.rejected > 0
            && let Err(error) = self.producer.flush(LETTERS)
        {
            self.interrupt(&format!("dead letters: {error:#}"));
            return Ok(());
        }
        match self.write(occasion) {
            Ok(true) => {}
            Ok(false) => self.interrupt(OTHERS),
            Err(Lost(error)) => self.interrupt(&error),
        }
        Ok(())
    }

    fn write(&mut self, occasion: Occasion) -> Result<bool, Lost> {
        if self.long {
            let cache = &mut self.cache;
            self.batch.sort(|slot| share(&cache.slot(slot).id));
        }
        let (mut begin, all) = (0, self.batch.touched.len());
        loop {
            let users = begin..self.batch.step_end(begin);
            let when = (occasion, now_ms());
            let started = Instant::now();
            if !self.load(users.clone(), when)? {
                return Ok(false);
            }
            stage("load", started.elapsed());
            let started = Instant::now();
            self.step.clear();
            let end = self.applier.apply(
                &self.rules,
                (&self.batch, users),
                when,
                &self.partitions,
                &mut self.cache,
                &mut self.step,
            );
            self.move_positions(begin..end);
            stage("apply", started.elapsed());
            if !self.finish()? || !self.store.send(&mut self.step)? {
                return Ok(false);
            }
            self.cache.shrink();
            if end == all {
                break;
            }
            begin = end;
        }
        self.gauges.sent(&self.batch, &mut self.applier.adopted);
        self.batch.clear();
        Ok(true)
    }

    /// Has the step leave the positions where its users are.
    fn move_positions(&mut self, users: Range<usize>) {
        self.token.count += 1;
        let next = self.batch.touched.get(users.end);
        for (id, reached) in &self.batch.reached {
            if let Some(partition) = self.partitions.get_mut(id) {
                partition.position.token = self.token;
                match next {
                    Some(user) => partition.partly_moved(reached.next, user.share),
                    None => partition.moved(reached.next, reached.last),
                }
            }
        }
        // Users alone, as in decay, change the token too.
        let named = self.batch.touched[users].iter().map(|user| user.partition);
        for id in named.chain(self.applier.mixed.iter().copied()) {
            if let Some(partition) = self.partitions.get_mut(&id) {
                partition.position.token = self.token;
            }
        }
        for id in std::mem::take(&mut self.applier.mixed) {
            if let Some(partition) = self.partitions.get_mut(&id) {
                partition.position.mixed = true;
            } else if let Some(position) = self.disturbed.get_mut(&id) {
                position.mixed = true;
            }
        }
        for (id, partition) in &self.partitions {
            if partition.position.token == self.token {
                self.step.position(*id, partition.position.clone());
            }
        }
        for (id, mut position) in std::mem::take(&mut self.disturbed) {
            position.token = self.token;
            self.step.disturb(id, position);
        }
    }

    /// Waits for the step under way; false when it was refused.
    pub(crate) fn finish(&mut self) -> Result<bool, Lost> {
        if !self.store.under_way() {
            return Ok(true);
        }
        match self.store.outcome()? {
            Outcome::Applied { errors, error } => {
                self.gauges.applied(errors, error.as_deref());
                Ok(true)
            }
            Outcome::Refused => Ok(false),
        }
    }

    /// Waits for the step under way, and recovers where it was not applied.
    pub(crate) fn settle(&mut self) -> anyhow::Result<()> {
        match self.finish() {
            Ok(true) => {}
            Ok(false) => self.interrupt(OTHERS),
            Err(Lost(error)) => self.interrupt(&error),
        }
        Ok(())
    }
}
