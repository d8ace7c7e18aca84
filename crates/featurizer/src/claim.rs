//! Which partitions a worker holds, and how it comes by them: at assignment, and again after whatever went wrong.

use crate::partition::Partition;
use crate::position::{Position, Resume, resume};
use crate::store::{Lost, Outcome};
use crate::worker::State;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tidemill_core::clock::now_ms;
use tidemill_core::kafka::Consumer;

/// How long to wait before a claim is tried again: longer than a zombie needs to learn that it is one.
const AGAIN: Duration = Duration::from_millis(300);
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

    /// Whether any partition waits for being claimed.
    pub(crate) fn open(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How many partitions wait for being claimed.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn revoked(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.waiting.remove(partition);
            self.started.remove(partition);
            self.rebuild.remove(partition);
        }
    }
}

/// What a claim has decided for a partition.
struct Plan {
    partition: Partition,
    read_from: i64,
    set_aside: bool,
}

impl State {
    /// Gives up everything that is not stored, and has all partitions claimed anew from what is.
    pub(crate) fn interrupt(&mut self, reason: &str) {
        tracing::warn!(
            reason,
            partitions = self.partitions.len(),
            "going back to the stored positions"
        );
        self.gauges.interrupted(reason);
        self.cache.clear();
        self.batch.clear();
        self.disturbed.clear();
        self.store.drop_all();
        // A connection with a step under way, or a watch of its own, is of no more use.
        self.store.redis.disconnect();
        self.claims
            .waiting
            .extend(std::mem::take(&mut self.partitions).into_keys());
        self.claims.not_before = Some(Instant::now() + AGAIN);
    }

    /// Writes what was read of partitions that go, or drops it where they are gone.
    pub(crate) fn revoked(&mut self, partitions: &[i32], lost: bool) -> anyhow::Result<()> {
        tracing::info!(?partitions, lost, "partitions revoked");
        if lost {
            self.batch.clear();
            self.cache.clear();
            // What others hold too is read again from the stored position.
            let kept = self.partitions.keys().any(|own| !partitions.contains(own));
            if kept || self.store.under_way() {
                self.interrupt("partitions were lost");
            }
        } else {
            self.flush(crate::apply::Occasion::Records)?;
            self.settle()?;
        }
        self.claims.revoked(partitions);
        self.partitions.retain(|own, _| !partitions.contains(own));
        self.store.release(partitions);
        self.cache.forget(partitions);
        self.gauges.revoked(partitions);
        self.gauges
            .progress(&self.partitions, self.claims.waiting.len());
        Ok(())
    }

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

    /// Decides where each partition goes on and writes that down under a token of our own; `None` when somebody
    /// else wrote in between.
    fn claim_stored(
        &mut self,
        consumer: &Consumer,
        waiting: &[i32],
    ) -> anyhow::Result<Option<BTreeMap<i32, Plan>>> {
        let seen = self.store.look(waiting)?;
        let ownerless = seen.owner.is_none();
        if let Some(owner) = seen.owner.filter(|owner| owner != self.store.owner()) {
            return Err(crate::run::foreign(&self.config, &owner));
        }
        self.token.count += 1;
        let mut plans = BTreeMap::new();
        for (id, stored) in waiting.iter().zip(seen.positions) {
            let stored = stored.and_then(|text| text.parse::<Position>().ok());
            plans.insert(*id, self.plan(consumer, *id, stored)?);
        }
        self.step.clear();
        for (id, plan) in &plans {
            if plan.set_aside && self.store.has_expiries(*id)? {
                let into_empty = !self.store.has_stale(*id)?;
                self.step.set_aside(*id, into_empty);
            }
            self.step.position(*id, plan.partition.position.clone());
        }
        let outcome = self.store.claim(&mut self.step, ownerless)?;
        Ok((outcome != Outcome::Refused).then_some(plans))
    }

    fn plan(
        &mut self,
        consumer: &Consumer,
        id: i32,
        stored: Option<Position>,
    ) -> anyhow::Result<Plan> {
        let definitions = self.rules.definitions.fingerprint();
        let log = consumer.log_range(id)?;
        let found = match self.claims.rebuild.get(&id) {
            Some(reason) => Resume::Rebuild(reason),
            None => resume(stored.as_ref(), definitions, log),
        };
        let token = self.token;
        let (read_from, check, gap) = match found {
            Resume::Continue { at, check } => (at, check, false),
            Resume::Gap { lost, at } => {
                tracing::warn!(
                    partition = id,
                    lost,
                    "records were deleted by retention before they were applied, going on at the log's start"
                );
                self.gauges.lost(lost);
                (at, None, true)
            }
            Resume::Rebuild(reason) => return self.plan_rebuild(consumer, id, reason, log),
        };
        // A position that the decision was made from is there.
        let Some(stored) = stored else {
            anyhow::bail!("no position to go on from")
        };
        let (next, warm_from) = (read_from.max(stored.offset), stored.offset);
        let position = Position { token, ..stored };
        let settling = true;
        let partition = Partition {
            position,
            next,
            check,
            gap,
            settling,
            warm_from,
            stood: (0, 0),
        };
        Ok(Plan {
            partition,
            read_from,
            set_aside: false,
        })
    }

    fn plan_rebuild(
        &mut self,
        consumer: &Consumer,
        id: i32,
        reason: &'static str,
        (_, end): (i64, i64),
    ) -> anyhow::Result<Plan> {
        let from = now_ms() - self.rules.definitions.longest_ms() - MARGIN_MS;
        let found = consumer.positions_at(&[id], from)?;
        let start = found.first().map_or(end, |(_, position)| *position);
        tracing::info!(
            partition = id,
            reason,
            start,
            end,
            "building windows from the log"
        );
        let token = self.token;
        // Drawn anew, so that no window of another building passes for one of this.
        let epoch = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), id) as u32;
        let position = Position {
            offset: start,
            token,
            epoch,
            definitions: self.rules.definitions.fingerprint().to_owned(),
            last: None,
            warm_until: (start < end).then_some(end),
            complete_from: None,
        };
        let (check, gap, settling) = (None, false, true);
        let partition = Partition {
            position,
            next: start,
            check,
            gap,
            settling,
            warm_from: start,
            stood: (0, 0),
        };
        Ok(Plan {
            partition,
            read_from: start,
            set_aside: true,
        })
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
        consumer.commit_hint(&self.positions());
        self.gauges.progress(&self.partitions, 0);
        Ok(())
    }
}
