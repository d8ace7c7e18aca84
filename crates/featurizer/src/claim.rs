//! Which partitions a worker holds, and how it comes by them: at assignment, and again after whatever went wrong.

use crate::plan::Plan;
use crate::store::Lost;
use crate::worker::State;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tidemill_core::kafka::Consumer;

/// How long to wait before a claim is tried again: longer than a zombie needs to learn that it is one.
pub(crate) const AGAIN: Duration = Duration::from_millis(300);
/// How much before the longest window a warm-up begins: records are written a little after their event time.
pub(crate) const MARGIN_MS: i64 = 15 * 60 * 1000;

/// Partitions that are assigned but not held.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// The group has answered, be it with no partition.
    pub(crate) joined: bool,
    waiting: BTreeSet<i32>,
    /// Those among all that the consumer reads already.
    started: BTreeSet<i32>,
    /// Those whose windows have to be built anew, and why.
    rebuild: BTreeMap<i32, &'static str>,
    not_before: Option<Instant>,
}

impl Claims {
    /// The group assigns partitions.
    pub(crate) fn assigned(&mut self, partitions: &[i32]) {
        self.joined = true;
        self.waiting.extend(partitions);
    }

    /// A partition's windows have to be built anew at its next claim.
    pub(crate) fn rebuild(&mut self, partition: i32, reason: &'static str) {
        self.rebuild.insert(partition, reason);
    }

    /// Why a partition's windows have to be built anew at its next claim, if they have to.
    pub(crate) fn why_rebuild(&self, partition: i32) -> Option<&'static str> {
        self.rebuild.get(&partition).copied()
    }

    /// Whether any partition waits for being claimed.
    pub(crate) fn open(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How many partitions wait for being claimed.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Those partitions are claimed anew, in a while.
    pub(crate) fn again(&mut self, partitions: impl Iterator<Item = i32>) {
        self.waiting.extend(partitions);
        self.not_before = Some(Instant::now() + AGAIN);
    }

    /// The group takes partitions away.
    pub(crate) fn revoked(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.waiting.remove(partition);
            self.started.remove(partition);
            self.rebuild.remove(partition);
        }
    }
}

impl State {
    /// Claims the partitions that wait, where it is time to, and has the consumer read them.
    pub(crate) fn claim(&mut self, consumer: &Consumer) -> anyhow::Result<()> {
        if self
            .claims
            .not_before
            .is_some_and(|time| Instant::now() < time)
        {
            // Records that arrive meanwhile are read again; do not hurry through them.
            std::thread::sleep(Duration::from_millis(10));
            return Ok(());
        }
        // What was gathered for partitions already held goes first: a claim uses the same connection.
        self.flush(crate::apply::Occasion::Records)?;
        self.settle()?;
        if self
            .claims
            .not_before
            .is_some_and(|time| Instant::now() < time)
        {
            return Ok(());
        }
        if !self.store.redis.connected()
            && let Err(Lost(error)) = self.store.connect()
        {
            self.gauges.interrupted(&error);
            self.claims.not_before = Some(Instant::now() + AGAIN);
            return Ok(());
        }
        let waiting: Vec<i32> = self.claims.waiting.iter().copied().collect();
        match self.claim_stored(consumer, &waiting) {
            Ok(Some(plans)) => self.begin(consumer, plans),
            Ok(None) => {
                self.claims.not_before = Some(Instant::now() + AGAIN);
                Ok(())
            }
            Err(error)
                if error
                    .downcast_ref::<tidemill_core::exit::Failure>()
                    .is_some() =>
            {
                Err(error)
            }
            Err(error) => {
                self.interrupt(&format!("{error:#}"));
                Ok(())
            }
        }
    }

    /// The partitions are ours: have them read.
    fn begin(&mut self, consumer: &Consumer, plans: BTreeMap<i32, Plan>) -> anyhow::Result<()> {
        let mut new = Vec::new();
        for (id, plan) in plans {
            let Plan {
                partition,
                read_from,
                ..
            } = plan;
            tracing::info!(
                partition = id,
                position = partition.position.offset,
                "partition claimed"
            );
            self.partitions.insert(id, partition);
            self.claims.waiting.remove(&id);
            self.claims.rebuild.remove(&id);
            if !self.claims.started.contains(&id) {
                new.push((id, read_from));
            } else if let Err(error) = consumer.seek(id, read_from) {
                // The brokers are away; what is stored stays where it is.
                self.interrupt(&format!("{error:#}"));
                return Ok(());
            } else {
                self.held.forget(consumer, &[id])?;
            }
        }
        if !new.is_empty() {
            consumer.start(&new)?;
            self.claims.started.extend(new.iter().map(|(id, _)| *id));
        }
        self.claims.not_before = None;
        // Some of their users may be ahead.
        self.long = false;
        consumer.commit_hint(&self.positions());
        self.gauges.progress(&self.partitions, 0);
        Ok(())
    }
}
