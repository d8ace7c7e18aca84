//! The real executable under a steady stream of payments, watched by a reader of committed predictions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::{PARTITIONS, payments};
use crate::harness::{Names, Program, Scene, until};
use crate::kafka::Stored;
use crate::oracle::{Latency, Watch};
use crate::stack::Stack;

/// Time before anything is measured: the broker compiles its code while it runs.
const WARM_UP: Duration = Duration::from_secs(5);

/// The result of a run.
pub(super) struct Live {
    payments: Vec<Stored>,
    watch: Watch,
}

/// A scene for one run.
pub(super) fn scene(stack: &Stack) -> Result<Scene> {
    Scene::on(stack, Names::unique("live"), PARTITIONS)
}

impl Live {
    /// Runs a scorer with default flags and `more` at `rate` payments a second for as long as `during` takes after the
    /// warm-up, and until every payment has its prediction.
    pub(super) fn run<T>(
        scene: &Scene,
        rate: u64,
        more: &[&str],
        during: impl FnOnce(&mut Program, &Watch) -> Result<T>,
    ) -> Result<(Live, T)> {
        let mut scorer = scene.scorer("scorer", more)?;
        scorer.wait_ready()?;
        let found = Live::watched(scene, rate, |watch| during(&mut scorer, watch))?;
        scorer.terminate()?;
        Ok(found)
    }

    /// Streams payments for as long as `during` takes after the warm-up, and until each has an answer in the
    /// predictions' topic, whoever writes it.
    pub(super) fn watched<T>(
        scene: &Scene,
        rate: u64,
        during: impl FnOnce(&Watch) -> Result<T>,
    ) -> Result<(Live, T)> {
        let watch = Watch::start(&scene.brokers, &scene.names.predictions)?;
        let stop = AtomicBool::new(false);
        let (sent, found) = thread::scope(|scope| {
            let streaming = scope.spawn(|| payments::stream(scene, rate, &stop));
            thread::sleep(WARM_UP);
            let found = during(&watch);
            stop.store(true, Ordering::Relaxed);
            let sent = streaming.join();
            let sent = sent.map_err(|_| anyhow!("the stream panicked"))??;
            anyhow::Ok((sent, found?))
        })?;
        until(
            "a prediction of each payment",
            Duration::from_secs(60),
            || Ok((watch.count() >= sent).then_some(())),
        )?;
        let payments = scene.read(&scene.names.transactions)?;
        Ok((Live { payments, watch }, found))
    }

    /// The latency of the payments that were produced between two times (epoch ms).
    pub(super) fn latency(&self, from_ms: i64, to_ms: i64) -> Result<Latency> {
        let between = |payment: &&Stored| {
            let at = payment.timestamp_ms;
            at.is_some_and(|at| (from_ms..to_ms).contains(&at))
        };
        self.watch.latency(self.payments.iter().filter(between))
    }
}
