//! Two builds of the featurizer in alternation: events a second from an empty store, and freshness under paced traffic.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::super::against::{Figures, alternate};
use super::super::topic::fill;
use super::super::usage::used;
use super::traffic::Traffic;
use super::watch::quiet;
use super::{Flags, PARTITIONS, freshness, steady};
use crate::harness::{Binaries, Names, Scene};
use crate::progress;
use crate::stack::Stack;

/// Time for freshness to settle on a broker that has worked already.
const SETTLE: Duration = Duration::from_secs(10);

/// Measures both builds: catching up on one topic, then the freshness of paced events on topics of their own.
pub(super) fn measure(stack: &Stack, flags: &Flags, folder: &Path) -> Result<String> {
    let names = Names::unique("against");
    let mut traffic = Traffic::new(flags.users, flags.zipf)?;
    let spinner = progress::spinner("writing events");
    for (records, warm) in [(flags.warm, Some(flags.warm)), (flags.events, None)] {
        let event = |_, draft: &mut _| traffic.event(draft, warm);
        fill(
            stack.brokers(),
            &names.user_events,
            PARTITIONS,
            records,
            event,
        )?;
    }
    spinner.done("events are written");
    let all = flags.warm + flags.events;
    alternate(folder, |binaries| {
        let (rate, cpu_us) = caught_up(stack, binaries, &names.user_events, all)?;
        let (p50, p99) = fresh(stack, binaries, &mut traffic, flags)?;
        Ok(Figures::from([
            ("featurizer, events/s", rate),
            ("featurizer, CPU us an event", cpu_us),
            ("from produce to Redis, p50 ms", p50),
            ("from produce to Redis, p99 ms", p99),
        ]))
    })
}

/// Events a second until all of the topic are applied, by a new group; and processor time per event.
fn caught_up(stack: &Stack, binaries: &Binaries, topic: &str, all: u64) -> Result<(f64, f64)> {
    let mut names = Names::unique("against");
    names.user_events = topic.to_owned();
    let mut scene = Scene::at(stack.brokers(), stack.redis_url(), names)?;
    scene.binaries = Some(binaries.clone());
    quiet(&mut scene.redis()?)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    let found = steady::catch_up(&scene, &mut featurizer, PARTITIONS, all)?;
    let cpu = used(featurizer.pid()).context("the featurizer is gone")?;
    featurizer.terminate()?;
    forget(&scene)?;
    let cpu_us = cpu.as_secs_f64() * 1e6 / all as f64;
    Ok((found.per_second(), cpu_us))
}

/// Median and 99th percentile of the time until an event is visible, in milliseconds.
fn fresh(
    stack: &Stack,
    binaries: &Binaries,
    traffic: &mut Traffic,
    flags: &Flags,
) -> Result<(f64, f64)> {
    let mut scene = Scene::on(stack, Names::unique("against"), PARTITIONS)?;
    scene.binaries = Some(binaries.clone());
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    featurizer.wait_ready()?;
    let (_, found) = freshness::measure(&scene, traffic, flags.paced, SETTLE, flags.fresh)?;
    featurizer.terminate()?;
    forget(&scene)?;
    Ok(found.undisturbed_ms())
}

/// Deletes the keys of a scene: Redis should not hold those of all rounds while it is measured.
fn forget(scene: &Scene) -> Result<()> {
    let mut redis = scene.redis()?;
    let pattern = format!("{}*", scene.names.key_prefix);
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        let scan = scan.arg(cursor).arg("MATCH").arg(&pattern);
        let (next, keys): (u64, Vec<String>) = scan.arg("COUNT").arg(10_000).query(&mut redis)?;
        if !keys.is_empty() {
            redis::cmd("UNLINK").arg(&keys).exec(&mut redis)?;
        }
        if next == 0 {
            return Ok(());
        }
        cursor = next;
    }
}
