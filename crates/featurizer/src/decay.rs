//! Features of users that are silent: evaluated anew when an event leaves a window, and after a rebuild.

use crate::apply::Occasion;
use crate::batch::{Change, STEP_USERS};
use crate::store::Lost;
use crate::worker::{OTHERS, State};
use std::time::{Duration, Instant};
use tidemill_core::clock::now_ms;

/// How often it is asked who is due: often enough that a hash is rewritten within a second.
const EVERY: Duration = Duration::from_millis(200);
/// How long new events go first when more users are due than one step takes: 10,000 users a second.
const BUSY: Duration = Duration::from_millis(40);
/// How many turns that were missed are made up for at once.
const TURNS: u128 = 25;
/// How often the backlog is counted, and a worker without records looks whether its positions are still its own.
const COUNT: Duration = Duration::from_secs(1);

/// When decay has its next turn.
#[derive(Debug, Default)]
pub(crate) struct Decay {
    next: Option<Instant>,
    more: bool,
    counted: Option<Instant>,
}

impl Decay {
    /// More users are due than the last step took.
    pub(crate) fn pressing(&self) -> bool {
        self.more
    }
}

impl State {
    /// Evaluates users that are due, where it is time to; at once when there is nothing else to do.
    pub(crate) fn decay(&mut self, idle: bool) -> anyhow::Result<()> {
        let now = Instant::now();
        let early = idle && self.decay.more;
        if self.claims.open() || (!early && self.decay.next.is_some_and(|next| now < next)) {
            return Ok(());
        }
        // A long batch takes the time of many turns.
        let next = self.decay.next.unwrap_or(now);
        let turns = now.saturating_duration_since(next).as_millis() / BUSY.as_millis();
        for _ in 0..=turns.min(TURNS) {
            match self.decay_due() {
                Ok(true) => {}
                Ok(false) => self.interrupt(OTHERS),
                Err(Lost(error)) => self.interrupt(&error),
            }
            self.flush(Occasion::Decay)?;
            if !self.decay.more {
                break;
            }
        }
        self.decay.next = Some(now + if self.decay.more { BUSY } else { EVERY });
        Ok(())
    }

    /// Gathers the users that are due into the batch, or those to be checked after a rebuild; false when the step
    /// under way was refused.
    fn decay_due(&mut self) -> Result<bool, Lost> {
        self.decay.more = false;
        if self.partitions.is_empty() || !self.finish()? {
            return Ok(self.partitions.is_empty());
        }
        let now = now_ms();
        let warm = |own: &&i32| !self.partitions[*own].warming();
        let partitions: Vec<i32> = self.partitions.keys().filter(warm).copied().collect();
        if self.decay.counted.is_none_or(|time| time.elapsed() > COUNT) {
            self.decay.counted = Some(Instant::now());
            if !self.store.verify()? {
                return Ok(false);
            }
            let backlog = self.store.backlog(&partitions, now)?;
            self.gauges.backlog(backlog);
        }
        if partitions.is_empty() {
            return Ok(true);
        }
        let limit = STEP_USERS.div_ceil(partitions.len());
        let due = self.store.due(&partitions, now, limit)?;
        for (partition, users) in partitions.iter().zip(due) {
            self.decay.more |= users.len() >= limit;
            for user in &users {
                self.touch(user, *partition);
            }
            if users.len() < limit && self.partitions[partition].settling {
                self.check_stale(*partition, limit)?;
            }
        }
        Ok(true)
    }

    /// After a rebuild, erases users that had features before and of whom the log says nothing any more.
    fn check_stale(&mut self, partition: i32, limit: usize) -> Result<(), Lost> {
        let users = self.store.stale(partition, limit)?;
        if users.is_empty() {
            if let Some(own) = self.partitions.get_mut(&partition) {
                own.settling = false;
                tracing::info!(partition, "partition up to date");
            }
            self.gauges.progress(&self.partitions, 0);
            return Ok(());
        }
        self.decay.more = true;
        for user in &users {
            let place = self.touch(user, partition);
            self.batch.change(place, partition, Change::Check);
        }
        Ok(())
    }
}
