//! What a worker tells about itself: metrics, readiness, and how far a warm-up is.

use crate::batch::Batch;
use crate::partition::Partition;
use crate::warm_up::WarmUp;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_core::health::{Health, Part};
use tidemill_core::metric::stage;

/// Handles of the metrics, which are updated once for each batch.
pub(crate) struct Gauges {
    number: usize,
    part: Part,
    warm_up: Arc<WarmUp>,
    records: Counter,
    users: Counter,
    steps: Counter,
    loads: Counter,
    adopted: Counter,
    errors: Counter,
    interrupted: Counter,
    lost: Counter,
    fresh: Histogram,
    cached_users: Gauge,
    cached_bytes: Gauge,
    backlog: Gauge,
    oldest: Option<i64>,
    sent: Instant,
    warned: Option<Instant>,
}

impl Gauges {
    /// Those of worker `number`.
    pub(crate) fn new(number: usize, health: &Arc<Health>, warm_up: Arc<WarmUp>) -> Self {
        let worker = number.to_string();
        Self {
            number,
            part: health.part(format!("worker {number}")),
            warm_up,
            records: counter!("tidemill_records_total"),
            users: counter!("tidemill_user_writes_total"),
            steps: counter!("tidemill_steps_total"),
            loads: counter!("tidemill_user_loads_total"),
            adopted: counter!("tidemill_adopted_users_total"),
            errors: counter!("tidemill_refused_commands_total"),
            interrupted: counter!("tidemill_interruptions_total"),
            lost: counter!("tidemill_lost_records_total"),
            fresh: histogram!("tidemill_freshness_seconds"),
            cached_users: gauge!("tidemill_cached_users", "worker" => worker.clone()),
            cached_bytes: gauge!("tidemill_cached_bytes", "worker" => worker.clone()),
            backlog: gauge!("tidemill_decay_backlog", "worker" => worker),
            oldest: None,
            sent: Instant::now(),
            warned: None,
        }
    }

    /// A step was sent.
    pub(crate) fn sent(&mut self, batch: &Batch, adopted: &mut u64) {
        self.records.increment(batch.records as u64);
        self.users.increment(batch.touched.len() as u64);
        self.steps.increment(1);
        self.oldest = batch.oldest;
        self.sent = Instant::now();
        let count = std::mem::take(adopted);
        if count > 0 {
            self.adopted.increment(count);
            self.warn(|| {
                tracing::warn!(
                    users = count,
                    "users came in another partition than before: were partitions added, or do producers \
                     partition differently?"
                );
            });
        }
    }

    /// The step under way was applied.
    pub(crate) fn applied(&mut self, errors: usize, error: Option<&str>) {
        stage("write", self.sent.elapsed());
        if let Some(oldest) = self.oldest.take() {
            self.fresh
                .record((tidemill_core::clock::now_ms() - oldest).max(0) as f64 / 1000.0);
        }
        if let Some(error) = error {
            self.errors.increment(errors as u64);
            self.warn(|| {
                tracing::error!(
                    errors,
                    error,
                    "Redis refused writes: does another program keep something under these keys?"
                );
            });
        }
    }

    /// Users were read from the store.
    pub(crate) fn loaded(&self, users: usize) {
        self.loads.increment(users as u64);
    }

    /// A stored window cannot be read.
    pub(crate) fn unreadable(&mut self, user: &str) {
        self.warn(|| {
            tracing::error!(
                user,
                "the stored window cannot be read, building those of its partition anew"
            );
        });
    }

    /// Work begins again at the stored positions.
    pub(crate) fn interrupted(&mut self, reason: &str) {
        self.oldest = None;
        self.interrupted.increment(1);
        self.part.unready(reason);
    }

    /// Records are gone that were never applied.
    pub(crate) fn lost(&self, records: i64) {
        self.lost.increment(records.unsigned_abs());
    }

    /// Users whose features should have been evaluated anew by now.
    pub(crate) fn backlog(&self, users: u64) {
        self.backlog.set(users as f64);
    }

    /// Users in memory, and their bytes.
    pub(crate) fn cache(&self, (users, bytes): (usize, usize)) {
        self.cached_users.set(users as f64);
        self.cached_bytes.set(bytes as f64);
    }

    /// Says what keeps the worker from being ready, if anything does.
    pub(crate) fn progress(&mut self, partitions: &BTreeMap<i32, Partition>, waiting: usize) {
        let settling = partitions.values().filter(|own| !own.settled()).count();
        if waiting > 0 {
            self.part
                .unready("waiting for the positions of its partitions");
        } else if settling == 0 {
            self.part.ready();
            self.warm_up.done(self.number);
        } else {
            let (mut done, mut all) = (0, 0);
            for own in partitions.values() {
                if let Some(until) = own.position.warm_until {
                    done += own.position.offset - own.warm_from;
                    all += until - own.warm_from;
                }
            }
            let percent = if all == 0 { 100 } else { done * 100 / all };
            let text = format!("warming up {settling} partitions, {percent} %");
            self.part.unready(text);
            if all > 0 {
                let (done, all) = (done.unsigned_abs(), all.unsigned_abs());
                self.warm_up.report(self.number, done, all);
            }
        }
    }

    /// Warns at most once in ten seconds.
    fn warn(&mut self, warning: impl FnOnce()) {
        if self
            .warned
            .is_none_or(|time| time.elapsed() > Duration::from_secs(10))
        {
            self.warned = Some(Instant::now());
            warning();
        }
    }
}
