//! Where a claimed partition goes on, decided from what is stored and from the log.

use crate::claim::MARGIN_MS;
use crate::partition::Partition;
use crate::position::{Position, Resume, resume};
use crate::store::Outcome;
use crate::worker::State;
use std::collections::BTreeMap;
use tidemill_core::clock::now_ms;
use tidemill_core::kafka::Consumer;

/// What a claim has decided for a partition.
pub(crate) struct Plan {
    /// The partition as it will be held.
    pub(crate) partition: Partition,
    /// The first offset to be read.
    pub(crate) read_from: i64,
    set_aside: bool,
}

impl State {
    /// Decides where each partition goes on and writes that down under a token of our own; `None` when somebody
    /// else wrote in between.
    pub(crate) fn claim_stored(
        &mut self,
        consumer: &Consumer,
        waiting: &[i32],
    ) -> anyhow::Result<Option<BTreeMap<i32, Plan>>> {
        let seen = self.store.look(waiting)?;
        let ownerless = seen.owner.is_none();
        if let Some(owner) = seen.owner.filter(|owner| owner != self.store.owner()) {
            return Err(crate::opening::foreign(&self.config, &owner));
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
        let found = match self.claims.why_rebuild(id) {
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
            mixed: false,
            ahead: None,
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
}
