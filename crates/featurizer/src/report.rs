//! The reports of a worker about itself: metrics, readiness, warnings, and warm-up progress.

use crate::assignment::Assignment;
use crate::engine::{Engine, Tally};
use crate::expiry::Expiry;
use crate::rejections::{Rejection, Rejections};
use crate::setback::Setback;
use crate::store::Redis;
use crate::warm_up::{Stage, WarmUp};
use metrics::{counter, gauge, histogram};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_core::health::{Health, Part};
use tidemill_core::kafka::{Consumer, Surroundings};
use tidemill_core::metric::stage;

/// Pause between two reports to the group and the admin pages.
const REPORT: Duration = Duration::from_secs(1);
/// Pause between two warnings of one kind.
const WARNINGS: Duration = Duration::from_secs(10);

/// Updates metrics and readiness.
pub(crate) struct Report {
    number: usize,
    part: Part,
    warm_up: Arc<WarmUp>,
    warned: BTreeMap<&'static str, Instant>,
    surroundings: Surroundings,
    reported: Instant,
}

impl Report {
    /// The report of worker `number`.
    pub(crate) fn new(
        number: usize,
        health: &Arc<Health>,
        warm_up: Arc<WarmUp>,
        surroundings: Surroundings,
    ) -> Self {
        Self {
            number,
            part: health.part(format!("worker {number}")),
            warm_up,
            warned: BTreeMap::new(),
            surroundings,
            reported: Instant::now(),
        }
    }

    /// Logs and counts a setback.
    pub(crate) fn setback(&mut self, setback: &Setback, assignment: &Assignment) {
        let reason = setback.reason();
        if setback.is_normal() {
            tracing::info!(reason, "going back to the stored positions");
        } else {
            tracing::warn!(reason, "going back to the stored positions");
        }
        counter!("tidemill_interruptions_total").increment(1);
        self.part.failed(reason);
        self.readiness(assignment, 0);
    }

    /// Counts records that retention deleted before they were applied.
    pub(crate) fn lost(&self, records: i64) {
        counter!("tidemill_lost_records_total").increment(records.unsigned_abs());
    }

    /// Adds the engine's counts to the metrics, and warns about moved users and refused commands.
    pub(crate) fn tally(&mut self, tally: Tally) {
        counter!("tidemill_records_total").increment(tally.records as u64);
        counter!("tidemill_user_writes_total").increment(tally.users as u64);
        counter!("tidemill_window_writes_total").increment(tally.windows as u64);
        counter!("tidemill_steps_total").increment(tally.transactions as u64);
        counter!("tidemill_user_loads_total").increment(tally.loads as u64);
        for fresh in tally.fresh {
            histogram!("tidemill_freshness_seconds").record(fresh as f64 / 1000.0);
        }
        for [load, apply, write] in tally.stages {
            stage("load", load);
            stage("apply", apply);
            stage("write", write);
        }
        if tally.adopted > 0 {
            counter!("tidemill_adopted_users_total").increment(tally.adopted);
            self.warn("adopted", || {
                tracing::warn!(
                    users = tally.adopted,
                    "users came in another partition than before: were partitions added, or do producers partition \
                     differently?"
                );
            });
        }
        if let Some(error) = tally.error {
            counter!("tidemill_refused_commands_total").increment(tally.refused as u64);
            self.warn("refused", || {
                tracing::error!(
                    commands = tally.refused,
                    error,
                    "Redis refused hashes: does another program keep something under these keys?"
                );
            });
        }
    }

    /// Logs the records that the intake has rejected, each with a dead letter.
    pub(crate) fn rejected(&self, rejections: &mut Rejections) {
        let (all, told) = rejections.due(Instant::now());
        for (reason, Rejection { records, example }) in told {
            tracing::warn!(
                reason,
                records,
                of = all,
                example,
                "records cannot be used and lie among the dead letters: mend their producer or --features, then send \
                 them back"
            );
        }
    }

    /// Once a second, reports the worker's progress to metrics, admin pages and the group, and checks what others did
    /// to the topic and the group.
    pub(crate) fn tell(
        &mut self,
        (consumer, assignment, engine): (&Consumer, &Assignment, &Engine<Redis>),
        expiry: &Expiry,
    ) -> Result<(), Setback> {
        if self.reported.elapsed() < REPORT {
            return Ok(());
        }
        self.reported = Instant::now();
        let worker = self.number.to_string();
        let gauge = |name: &'static str, value: f64| {
            gauge!(name, "worker" => worker.clone()).set(value);
        };
        let (users, bytes) = engine.cached();
        gauge("tidemill_cached_users", users as f64);
        gauge("tidemill_cached_bytes", (bytes + assignment.bytes()) as f64);
        gauge("tidemill_unsaved_users", engine.unsaved() as f64);
        gauge("tidemill_decay_backlog", expiry.backlog() as f64);
        self.readiness(assignment, expiry.backlog());
        consumer.commit_hint(&assignment.positions());
        self.surroundings
            .look()
            .map_or(Ok(()), |change| Err(change.into()))
    }

    /// Updates readiness from the state of the partitions; `due` users wait for their hashes.
    pub(crate) fn readiness(&mut self, assignment: &Assignment, due: u64) {
        if !assignment.is_failing() {
            self.part.succeeded();
        }
        match obstacle(assignment, due) {
            Some(obstacle) => self.part.unready(obstacle),
            None => self.part.ready(),
        }
        let (_, stage) = unsettled(assignment, due);
        self.warm_up.report(self.number, stage);
    }

    /// Warns, unless it has just warned of the same.
    fn warn(&mut self, kind: &'static str, warning: impl FnOnce()) {
        let now = Instant::now();
        let last = self.warned.get(kind);
        if last.is_none_or(|last| now - *last > WARNINGS) {
            self.warned.insert(kind, now);
            warning();
        }
    }
}

/// The reason, other than a failure, why a worker is not ready.
fn obstacle(assignment: &Assignment, due: u64) -> Option<String> {
    if !assignment.has_joined() {
        return Some("joining the group".into());
    }
    match assignment.waiting() {
        none if none.is_empty() => {}
        // Those that the topic has are attached.
        absent if assignment.owned().next().is_some() => {
            return Some(format!("the topic does not have the partitions {absent:?}"));
        }
        _ => return Some("waiting for the positions of its partitions".into()),
    }
    Some(match unsettled(assignment, due) {
        (_, Stage::Settled) => return None,
        (partitions, Stage::Reading { done, all }) => {
            let share = done * 100 / all;
            format!("warming up {partitions} partitions: {done} of {all} records, {share} %")
        }
        (partitions, Stage::Writing { left: 0 }) => {
            format!("comparing the hashes of {partitions} partitions with their windows")
        }
        (partitions, Stage::Writing { left }) => {
            format!("writing the hashes of {partitions} partitions: {left} users are left")
        }
    })
}

/// The number of partitions whose hashes do not agree with their windows yet, and the stage of the worker.
fn unsettled(assignment: &Assignment, due: u64) -> (usize, Stage) {
    let unsettled = assignment.owned().filter(|(_, own)| !own.is_settled());
    let partitions = unsettled.count();
    let warm_ups = assignment.owned().filter_map(|(_, own)| own.warm_up());
    let (done, all) = warm_ups.fold((0, 0), |(done, all), own| (done + own.0, all + own.1));
    let stage = match (partitions, all.unsigned_abs()) {
        (0, _) => Stage::Settled,
        (_, 0) => Stage::Writing { left: due },
        (_, all) => Stage::Reading {
            done: done.unsigned_abs(),
            all,
        },
    };
    (partitions, stage)
}
