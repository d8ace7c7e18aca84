//! Partitions that are paused until the store of a claimed object answers, while the others go on.

use super::Unavailable;
use crate::health::{Health, Part};
use crate::kafka::{Consumer, in_words};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Minimum between two attempts; longer if an attempt takes longer, so that the other partitions get half of the time.
const PAUSE: Duration = Duration::from_secs(1);

/// The partitions of one worker that are held; the process is not ready while there are any.
#[derive(Debug)]
pub struct Held {
    partitions: BTreeMap<i32, State>,
    part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Not read until this time.
    Paused(Instant),
    /// Resumed at this time; forgotten after one quiet pause.
    Tried(Instant),
}

impl Held {
    /// None of `worker`'s partitions yet; the text names the worker within its process.
    pub fn new(health: &Arc<Health>, worker: &str) -> Self {
        let part = health.part(format!("claims of {worker}"));
        part.ready();
        Self {
            partitions: BTreeMap::new(),
            part,
        }
    }

    /// True if records of this partition must be skipped: they will be read again.
    pub fn contains(&self, partition: i32) -> bool {
        matches!(self.partitions.get(&partition), Some(State::Paused(_)))
    }

    /// True if any partition is paused, or was resumed a moment ago.
    pub fn any(&self) -> bool {
        !self.partitions.is_empty()
    }

    /// Pauses a partition for a while.
    pub fn hold(
        &mut self,
        consumer: &Consumer,
        partition: i32,
        error: &Unavailable,
    ) -> anyhow::Result<()> {
        let pause = error.took.max(PAUSE);
        tracing::warn!(partition, again_in = ?pause, "{error}");
        let reason = format!("partition {partition} waits: {error}");
        self.part.unready(reason);
        self.set(partition, State::Paused(Instant::now() + pause));
        consumer.pause(&[partition])
    }

    fn set(&mut self, partition: i32, state: State) {
        self.partitions.insert(partition, state);
    }

    /// Resumes partitions whose pause is over, at the offset that `next` returns; with `None` a partition stays paused.
    /// Returns those that were resumed.
    pub fn retry(
        &mut self,
        consumer: &Consumer,
        next: impl Fn(i32) -> Option<i64>,
    ) -> anyhow::Result<Vec<i32>> {
        let (now, mut resumed) = (Instant::now(), Vec::new());
        for (partition, state) in self.partitions.clone() {
            match state {
                State::Paused(until) if until <= now => {
                    let Some(position) = next(partition) else {
                        continue;
                    };
                    match consumer.seek(partition, position) {
                        Ok(()) => {
                            consumer.resume(&[partition])?;
                            self.set(partition, State::Tried(now));
                            resumed.push(partition);
                        }
                        Err(error) => {
                            tracing::warn!("{}", in_words(&error));
                            self.set(partition, State::Paused(now + PAUSE));
                        }
                    }
                }
                State::Tried(since) if since + PAUSE <= now => self.remove(partition),
                _ => {}
            }
        }
        Ok(resumed)
    }

    /// Forgets partitions that are revoked, or that resume at another offset.
    pub fn forget(&mut self, consumer: &Consumer, partitions: &[i32]) -> anyhow::Result<()> {
        for partition in partitions {
            if self.contains(*partition) {
                consumer.resume(&[*partition])?;
            }
            self.remove(*partition);
        }
        Ok(())
    }

    fn remove(&mut self, partition: i32) {
        if self.partitions.remove(&partition).is_some() && self.partitions.is_empty() {
            self.part.ready();
        }
    }
}
