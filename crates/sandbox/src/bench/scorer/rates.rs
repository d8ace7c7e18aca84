//! Predictions a second on a full topic, beside the bare loop that writes the same bytes and the plain loop.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tidemill_core::remark_line;

use super::plain::Wait;
use super::{PARTITIONS, bare, payments, plain};
use crate::bench::usage::used;
use crate::bench::{Measured, Rates, all_at_work};
use crate::harness::{Names, Program, Scene, until};
use crate::kafka::{create_topics, first_record};
use crate::stack::Stack;

/// Time limit of a full topic.
const LIMIT: Duration = Duration::from_secs(120);

/// The scorer's own limit of records in a transaction.
pub(super) const LIKE_OURS: u64 = 10_000;

/// Fills a topic with `count` payments, measures all ways of scoring it, and returns the table.
pub(super) fn measure(stack: &Stack, count: u64) -> Result<String> {
    let scene = Scene::on(stack, Names::unique("rates"), PARTITIONS)?;
    payments::fill(&scene, PARTITIONS, count)?;
    // Not measured: the broker compiles its code meanwhile. The bare loop writes the records of this run.
    score(&scene, count, "exactly-once", "warm-up")?;
    let sample = first_record(&scene.brokers, &topic(&scene, "warm-up"))?;
    let copied = |size: u64| -> Result<Measured> {
        let target = topic(&scene, &format!("copies-{size}"));
        create_topics(&scene.brokers, &[&target], PARTITIONS)?;
        let found = bare::copy(&scene, &target, PARTITIONS, count, size, &sample)?;
        Ok(told(&format!("copied in transactions of {size}"), found))
    };
    let plainly = |wait: Wait| -> Result<Measured> {
        let target = topic(&scene, &format!("plain-{wait:?}").to_lowercase());
        create_topics(&scene.brokers, &[&target], PARTITIONS)?;
        let found = plain::score(&scene, &target, count, wait)?;
        Ok(told(
            &format!("scored plainly, waiting for {wait:?}"),
            found,
        ))
    };
    // In this order, so that the limit is measured next to its counterpart.
    let limit = copied(LIKE_OURS)?;
    let exactly = score(&scene, count, "exactly-once", "exactly")?;
    let at_least = score(&scene, count, "at-least-once", "at-least")?;
    let plain = plainly(Wait::EachRecord)?;
    let name = format!("bare copy loop, exactly once, transactions of {LIKE_OURS}");
    let mut rates = Rates::new(
        "records/s",
        (name.as_str(), limit),
        ("plain loop, each prediction waited for", plain),
    );
    rates.add(
        "plain loop, nothing waited for: may lose",
        plainly(Wait::Never)?,
    );
    rates.add(
        "bare copy loop, exactly once, transactions of 1000",
        copied(1_000)?,
    );
    rates.add("scorer, exactly once", exactly.found);
    rates.add("scorer, at least once", at_least.found);
    let batches = format!(
        "The scorer's batches: {:.0} records exactly once, {:.0} at least once, on average.\n",
        exactly.batch, at_least.batch
    );
    Ok(rates.markdown() + "\n" + &batches)
}

/// Prints a result while the rest is still being measured.
fn told(what: &str, found: Measured) -> Measured {
    remark_line!("{what}: {:.0}/s", found.per_second());
    found
}

pub(super) fn topic(scene: &Scene, purpose: &str) -> String {
    format!("{}-{purpose}", scene.names.predictions)
}

/// The scorer's result on a full topic.
pub(super) struct Scored {
    pub(super) found: Measured,
    /// Records of a batch, on average.
    pub(super) batch: f64,
    /// Processor time.
    pub(super) cpu: Duration,
}

/// Scores everything with the real executable and its default flags.
pub(super) fn score(scene: &Scene, count: u64, delivery: &str, purpose: &str) -> Result<Scored> {
    let target = topic(scene, purpose);
    let group = format!("{}-{purpose}", scene.names.scorer_group);
    let more = [
        "--delivery",
        delivery,
        "--output-topic",
        &target,
        "--group",
        &group,
    ];
    let mut scorer = scene.scorer(purpose, &more)?;
    let predictions = |scorer: &Program| number(scorer, "tidemill_predictions_total");
    all_at_work(scene, &group)?;
    let (start, before) = (Instant::now(), predictions(&scorer)?);
    ensure!(
        before < count as f64 * 0.75,
        "{before} of {count} payments were scored before all workers had partitions: raise --payments"
    );
    until("the last prediction", LIMIT, || {
        Ok((predictions(&scorer)? >= count as f64).then_some(()))
    })?;
    let found = Measured::since(start, count - before as u64);
    let cpu = used(scorer.pid()).context("the scorer is gone")?;
    let batch = count as f64 / number(&scorer, "tidemill_batch_records_count")?;
    scorer.terminate()?;
    told(
        &format!("scored {delivery}, {batch:.0} records a batch"),
        found,
    );
    Ok(Scored { found, batch, cpu })
}

/// A number on the scorer's metrics page; 0 if it is not there yet.
pub(super) fn number(scorer: &Program, name: &str) -> Result<f64> {
    let page = scorer.page("/metrics")?.1;
    let mut lines = page.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(Ok(0.0), |value| {
        value.parse().with_context(|| format!("reading {name}"))
    })
}
