//! Partitions that stand still until the store of a claimed object answers, while the others go on.

use super::Unavailable;
use crate::kafka::Consumer;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between two tries, at least; longer where a try takes longer, so that the other partitions have half of the time.
const PAUSE: Duration = Duration::from_secs(1);

/// The partitions of one worker that are held.
#[derive(Debug, Default)]
pub struct Held {
    until: BTreeMap<i32, Instant>,
}

impl Held {
    /// Whether records of this partition are to be passed over: they come again.
    pub fn contains(&self, partition: i32) -> bool {
        self.until.contains_key(&partition)
    }

    /// Whether any partition is held.
    pub fn any(&self) -> bool {
        !self.until.is_empty()
    }

    /// Stops reading a partition for a while.
    pub fn hold(
        &mut self,
        consumer: &Consumer,
        partition: i32,
        error: &Unavailable,
    ) -> anyhow::Result<()> {
        let pause = error.took.max(PAUSE);
        tracing::warn!(partition, again_in = ?pause, "{error}");
        self.until.insert(partition, Instant::now() + pause);
        consumer.pause(&[partition])
    }

    /// Reads partitions again whose time has come, from where `next` says. Those that it knows nothing of stay held.
    pub fn retry(
        &mut self,
        consumer: &Consumer,
        next: impl Fn(i32) -> Option<i64>,
    ) -> anyhow::Result<()> {
        let now = Instant::now();
        let due = self.until.iter().filter(|(_, until)| **until <= now);
        let due: Vec<i32> = due.map(|(partition, _)| *partition).collect();
        for partition in due {
            let Some(position) = next(partition) else {
                continue;
            };
            match consumer.seek(partition, position) {
                Ok(()) => self.forget(consumer, &[partition])?,
                Err(error) => {
                    tracing::warn!("{error:#}");
                    self.until.insert(partition, now + PAUSE);
                }
            }
        }
        Ok(())
    }

    /// Holds these no longer, because they go, or go on elsewhere.
    pub fn forget(&mut self, consumer: &Consumer, partitions: &[i32]) -> anyhow::Result<()> {
        for partition in partitions {
            if self.until.remove(partition).is_some() {
                consumer.resume(&[*partition])?;
            }
        }
        Ok(())
    }
}
