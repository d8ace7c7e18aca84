//! The time from produce to visible in Redis: probes among paced traffic, each polled until it is there.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::super::topic::Draft;
use super::traffic::Traffic;
use super::watch::{Found, Probe, quiet, watch};
use crate::harness::Scene;
use crate::kafka::Producer;

/// Pause between two probes.
const PROBE: Duration = Duration::from_millis(4);
/// Number of users that take turns as probes, so that each comes back long after it was seen.
const PROBES: u64 = 500;
/// Sends `rate` events a second, and measures probes for `time` after `settle`: before that, their users are new.
/// Returns the events sent per second, and the probes.
pub(super) fn measure(
    scene: &Scene,
    traffic: &mut Traffic,
    rate: u32,
    settle: Duration,
    time: Duration,
) -> Result<(f64, Found)> {
    let (sender, receiver) = channel();
    let mut redis = scene.redis()?;
    quiet(&mut redis)?;
    let watcher = thread::spawn(move || watch(redis, &receiver));
    let producer = Producer::open(&scene.brokers)?;
    let topic = &scene.names.user_events;
    let (start, end) = (Instant::now(), settle + time);
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
            // A watcher that has ended reports its error below.
            if start.elapsed() >= settle && sender.send(Probe { key, count, since }).is_err() {
                break;
            }
            probes += 1;
        }
        thread::sleep(Duration::from_micros(500));
    }
    producer.flush()?;
    drop(sender);
    let found = watcher.join().ok().context("the watcher panicked")??;
    Ok((sent as f64 / end.as_secs_f64(), found))
}
