//! Probes: values in Redis that are polled until they are as expected.

use std::ops::RangeInclusive;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use crate::harness::until;

/// Longer times count as this, in microseconds.
const LONGEST_US: u64 = 60_000_000;
/// Probes polled at once, the oldest first: polling must not keep Redis from writing.
const ASKED: usize = 16;
/// Pause between two polls.
const PAUSE: Duration = Duration::from_millis(2);
/// Pause between two checks if Redis is rewriting its append-only file.
const REWRITING: Duration = Duration::from_millis(50);
/// Time limit for an earlier rewrite to end.
const SOON: Duration = Duration::from_secs(60);
/// Time for Redis to work off the backlog of a rewrite.
const BACKLOG: Duration = Duration::from_secs(2);

/// A value that is waited for.
pub(super) struct Probe {
    /// The user's hash.
    pub(super) key: String,
    /// The expected `purchase_count_24h`.
    pub(super) count: RangeInclusive<u64>,
    /// The time at which the event was sent, or became due.
    pub(super) since: Instant,
}

/// Durations of the probes, in microseconds.
pub(super) struct Found {
    /// All probes.
    all: Histogram<u64>,
    /// Those during which Redis was not rewriting its append-only file, nor had just done so.
    undisturbed: Histogram<u64>,
}

impl Found {
    /// Median and 99th percentile without rewrites of the append-only file, in milliseconds.
    pub(super) fn undisturbed_ms(&self) -> (f64, f64) {
        let at = |quantile| milliseconds(&self.undisturbed, quantile);
        (at(0.5), at(0.99))
    }

    /// Rows with percentiles.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let at = |found, quantile| format!("{:.1} ms", milliseconds(found, quantile));
        vec![
            row("probes", self.all.len().to_string()),
            row("p50", at(&self.all, 0.5)),
            row("p99", at(&self.all, 0.99)),
            row("slowest", at(&self.all, 1.0)),
            row(
                "probes while Redis did not rewrite its append-only file, nor 2 s after",
                self.undisturbed.len().to_string(),
            ),
            row("p99 of these", at(&self.undisturbed, 0.99)),
            row("slowest of these", at(&self.undisturbed, 1.0)),
        ]
    }
}

fn milliseconds(found: &Histogram<u64>, quantile: f64) -> f64 {
    found.value_at_quantile(quantile) as f64 / 1000.0
}

/// Waits for all probes that arrive, until their sender is gone.
pub(super) fn watch(mut redis: redis::Connection, probes: &Receiver<Probe>) -> Result<Found> {
    let histogram = || Histogram::new_with_max(LONGEST_US, 3);
    let (all, undisturbed) = (histogram()?, histogram()?);
    let mut found = Found { all, undisturbed };
    let mut open: Vec<Probe> = Vec::new();
    let (mut asked, mut rewrote) = (Instant::now(), None);
    let mut more = true;
    while more || !open.is_empty() {
        loop {
            match probes.try_recv() {
                Ok(probe) => open.push(probe),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    more = false;
                    break;
                }
            }
        }
        if asked.elapsed() >= REWRITING {
            asked = Instant::now();
            if rewrites(&mut redis)? {
                rewrote = Some(asked);
            }
        }
        if !open.is_empty() {
            for probe in ask(&mut redis, &mut open)? {
                let us = probe.since.elapsed().as_micros() as u64;
                found.all.saturating_record(us);
                if rewrote.is_none_or(|at: Instant| at + BACKLOG < probe.since) {
                    found.undisturbed.saturating_record(us);
                }
            }
        }
        thread::sleep(PAUSE);
    }
    Ok(found)
}

/// Waits until Redis is not rewriting its append-only file.
pub(super) fn quiet(redis: &mut redis::Connection) -> Result<()> {
    until("Redis to have rewritten its log", SOON, || {
        Ok((!rewrites(redis)?).then_some(()))
    })
}

/// True if Redis is rewriting its append-only file.
fn rewrites(redis: &mut redis::Connection) -> Result<bool> {
    let told: String = redis::cmd("INFO").arg("persistence").query(redis)?;
    Ok(told.contains("aof_rewrite_in_progress:1"))
}

/// Polls the oldest of the open probes, and removes and returns those that are as expected.
fn ask(redis: &mut redis::Connection, open: &mut Vec<Probe>) -> Result<Vec<Probe>> {
    let mut pipe = redis::pipe();
    for probe in open.iter().take(ASKED) {
        pipe.cmd("HGET").arg(&probe.key).arg("purchase_count_24h");
    }
    let counts: Vec<Option<u64>> = pipe.query(redis).context("asking for probes")?;
    let mut counts = counts.into_iter();
    let seen = |probe: &mut Probe| {
        let count = counts.next().flatten();
        count.is_some_and(|count| probe.count.contains(&count))
    };
    Ok(open.extract_if(.., seen).collect())
}
