//! From produce to visible in Redis: probes among paced traffic, each looked for until it is there.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::super::topic::Draft;
use super::traffic::Traffic;
use super::watch::{Probe, rewrites, watch};
use crate::harness::{Scene, until};
use crate::kafka::Producer;

/// How long a rewrite of Redis' log that is left from before may take.
const SOON: Duration = Duration::from_secs(60);
/// How often one of the events is a probe.
const PROBE: Duration = Duration::from_millis(4);
/// Probes go round among so many users of their own, so that each comes back long after it has been seen.
const PROBES: u64 = 500;
/// How long the first probes are not counted: their users are new, and a broker fresh from its start takes half a
/// minute of such traffic until its compiler has caught up with it.
const SETTLE: Duration = Duration::from_secs(30);

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
        Ok((!rewrites(&mut redis)?).then_some(()))
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
            let since = Instant::now();
            producer.send(topic, Some(user.as_bytes()), Some(value.as_bytes()), None)?;
            let key = scene.names.features_key(&user);
            let count = probes / PROBES + 1..=u64::MAX;
            // A watcher that has ended says below why it did.
            if start.elapsed() >= SETTLE && sender.send(Probe { key, count, since }).is_err() {
                break;
            }
            probes += 1;
        }
        thread::sleep(Duration::from_micros(500));
    }
    producer.flush()?;
    drop(sender);
    let found = watcher.join().ok().context("the watcher panicked")??;
    let reached = format!("{:.0}", sent as f64 / end.as_secs_f64());
    let mut rows = vec![vec!["events/s".to_owned(), reached]];
    rows.extend(found.rows());
    Ok(rows)
}
