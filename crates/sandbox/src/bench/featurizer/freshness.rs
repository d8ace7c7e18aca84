//! From produce to visible in Redis: probes among paced traffic, each looked for until it is there.

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use super::super::topic::Draft;
use super::traffic::Traffic;
use crate::harness::{Scene, until};
use crate::kafka::Producer;

/// How long a rewrite of Redis' log that is left from before may take.
const SOON: Duration = Duration::from_secs(60);
/// How often one of the events is a probe.
const PROBE: Duration = Duration::from_millis(4);
/// Probes go round among so many users of their own, so that each comes back long after it has been seen.
const PROBES: u64 = 500;
/// How long the first probes are not counted, since their users are new.
const SETTLE: Duration = Duration::from_secs(3);

/// What took longer than this counts as this, in microseconds.
const LONGEST_US: u64 = 60_000_000;

/// How many of them are asked for at once, the oldest first: asking must not keep Redis from writing.
const ASKED: usize = 16;
/// How long it waits between two times.
const PAUSE: Duration = Duration::from_millis(2);

/// A probe that was sent.
struct Sent {
    key: String,
    /// What `purchase_count_24h` becomes by it.
    count: u64,
    at: Instant,
}

/// Sends `rate` events a second for as long as `time`; rows with percentiles.
pub(super) fn measure(
    scene: &Scene,
    traffic: &mut Traffic,
    rate: u32,
    time: Duration,
) -> Result<Vec<Vec<String>>> {
    let (sender, receiver) = channel();
    let mut redis = scene.redis()?;
    until("Redis to have rewritten its log", SOON, || {
        let told: String = redis::cmd("INFO").arg("persistence").query(&mut redis)?;
        Ok(told.contains("aof_rewrite_in_progress:0").then_some(()))
    })?;
    let watcher = thread::spawn(move || watch(redis, &receiver));
    let producer = Producer::open(&scene.brokers)?;
    let topic = &scene.names.user_events;
    let (start, end) = (Instant::now(), SETTLE + time);
    let (mut sent, mut probes) = (0, 0u64);
    let mut draft = Draft::default();
    while start.elapsed() < end {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        while sent < due {
            draft.key.clear();
            draft.value.clear();
            traffic.event(&mut draft, None)?;
            producer.send(topic, Some(&draft.key), Some(&draft.value), None)?;
            sent += 1;
        }
        if start.elapsed() >= PROBE * probes as u32 {
            let user = format!("probe_{}", probes % PROBES);
            let value = format!("{{\"user_id\":\"{user}\",\"amount\":1}}");
            let at = Instant::now();
            producer.send(topic, Some(user.as_bytes()), Some(value.as_bytes()), None)?;
            let (key, count) = (scene.names.features_key(&user), probes / PROBES + 1);
            // A watcher that has ended says below why it did.
            if start.elapsed() >= SETTLE && sender.send(Sent { key, count, at }).is_err() {
                break;
            }
            probes += 1;
        }
        thread::sleep(Duration::from_micros(500));
    }
    producer.flush()?;
    drop(sender);
    let found = watcher.join().ok().context("the watcher panicked")??;
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let at = |quantile: f64| {
        format!(
            "{:.1} ms",
            found.value_at_quantile(quantile) as f64 / 1000.0
        )
    };
    Ok(vec![
        row(
            "events/s",
            format!("{:.0}", sent as f64 / end.as_secs_f64()),
        ),
        row("probes", found.len().to_string()),
        row("p50", at(0.5)),
        row("p99", at(0.99)),
        row("slowest", at(1.0)),
    ])
}

/// Asks for all probes that are not seen yet, again and again; microseconds until each was.
fn watch(mut redis: redis::Connection, sent: &Receiver<Sent>) -> Result<Histogram<u64>> {
    let mut found = Histogram::new_with_max(LONGEST_US, 3)?;
    let mut open: Vec<Sent> = Vec::new();
    let mut more = true;
    while more || !open.is_empty() {
        loop {
            match sent.try_recv() {
                Ok(probe) => open.push(probe),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    more = false;
                    break;
                }
            }
        }
        if !open.is_empty() {
            ask(&mut redis, &mut open, &mut found)?;
        }
        thread::sleep(PAUSE);
    }
    Ok(found)
}

/// Asks for the oldest of the open probes, and takes those that are there off the list.
fn ask(
    redis: &mut redis::Connection,
    open: &mut Vec<Sent>,
    found: &mut Histogram<u64>,
) -> Result<()> {
    let mut pipe = redis::pipe();
    for probe in open.iter().take(ASKED) {
        pipe.cmd("HGET").arg(&probe.key).arg("purchase_count_24h");
    }
    let counts: Vec<Option<u64>> = pipe.query(redis).context("asking for probes")?;
    let mut counts = counts.into_iter();
    open.retain(|probe| {
        let seen = counts.next().flatten() >= Some(probe.count);
        if seen {
            found.saturating_record(probe.at.elapsed().as_micros() as u64);
        }
        !seen
    });
    Ok(())
}
