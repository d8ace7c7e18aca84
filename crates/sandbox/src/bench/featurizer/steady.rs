//! The real executable on a full topic: the speed of its positions, and its memory and that of Redis.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::super::all_at_work;
use super::super::rates::Measured;
use crate::harness::{Program, Scene};

/// Time limit for reaching the end of the topic.
const LIMIT: Duration = Duration::from_secs(300);

/// Waits until `all` events are applied, and measures from the moment when all workers have partitions.
pub(super) fn catch_up(
    scene: &Scene,
    featurizer: &mut Program,
    partitions: i32,
    all: u64,
) -> Result<Measured> {
    let mut redis = scene.redis()?;
    let mut applied = || -> Result<u64> {
        let mut keys = redis::cmd("MGET");
        for partition in 0..partitions {
            let prefix = &scene.names.key_prefix;
            keys.arg(format!(
                "{prefix}position:{}:{partition}",
                scene.names.user_events
            ));
        }
        let found: Vec<Option<String>> = keys.query(&mut redis)?;
        let offset = |text: Option<String>| -> Option<u64> {
            let text = text?;
            let value = |name| text.split(' ').find_map(|word| word.strip_prefix(name));
            if let Some(shown) = value("shown=") {
                return shown.split(':').next()?.parse().ok();
            }
            // Earlier builds stored windows with each event, under another name.
            value("stored=").or(value("offset="))?.parse().ok()
        };
        Ok(found.into_iter().filter_map(offset).sum())
    };
    all_at_work(scene, &scene.names.featurizer_group)?;
    let (start, from) = (Instant::now(), applied()?);
    ensure!(
        from <= all / 4 * 3,
        "{from} of {all} events were applied before all workers had partitions: raise --events"
    );
    let deadline = start + LIMIT;
    loop {
        let now = applied()?;
        if now >= all {
            return Ok(Measured::since(start, now - from));
        }
        if featurizer.ended()?.is_some() || Instant::now() > deadline {
            bail!("{now} of {all} events applied: {}", featurizer.output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Rows about the memory of the process and of a user's keys.
pub(super) fn memory(scene: &Scene, featurizer: &Program) -> Result<Vec<Vec<String>>> {
    let status = fs::read_to_string(format!("/proc/{}/status", featurizer.pid()))?;
    let resident = status.lines().find(|line| line.starts_with("VmRSS"));
    let resident = resident.context("no VmRSS in /proc")?;
    let resident_kb: u64 = resident
        .split_whitespace()
        .nth(1)
        .context("VmRSS")?
        .parse()?;
    let (_, metrics) = featurizer.page("/metrics")?;
    let sum = |name: &str| -> f64 {
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    };
    let (users, bytes) = (sum("tidemill_cached_users"), sum("tidemill_cached_bytes"));
    let mut redis = scene.redis()?;
    let mut in_redis = |name: &str| -> Result<u64> {
        let mut total = 0;
        for user in 0..100 {
            let key = format!("{}{name}:u_{user:05}", scene.names.key_prefix);
            let found: Option<u64> = redis::cmd("MEMORY")
                .arg("USAGE")
                .arg(key)
                .query(&mut redis)?;
            total += found.unwrap_or(0);
        }
        Ok(total / 100)
    };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    Ok(vec![
        row("process, resident", format!("{} MB", resident_kb / 1024)),
        row("cached users", format!("{users:.0}")),
        row(
            "cache, a user",
            format!("{:.0} bytes", bytes / users.max(1.0)),
        ),
        row(
            "Redis, a user's hash",
            format!("{} bytes", in_redis("features")?),
        ),
        row(
            "Redis, a user's window",
            format!("{} bytes", in_redis("window")?),
        ),
    ])
}
