//! The payments to score: a full topic, or a steady stream.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bench::topic;
use crate::harness::Scene;
use crate::kafka::Producer;
use crate::simulate::{Event, Settings, Traffic, now_ms};

/// Simulated payments, without other events.
fn made_up(rate: f64, count: u64) -> impl Iterator<Item = Event> {
    let settings = Settings {
        seed: 7,
        start_ms: now_ms(),
        rate,
        count,
        customers: 20_000,
        fraud_share: 0.005,
        label_delay_ms: 1_000.0,
        browsing: 0.0,
    };
    let events = Traffic::new(settings).map(|happening| happening.event);
    events.filter(|event| matches!(event, Event::Transaction(_)))
}

/// Fills the scene's topic, with this many partitions, with `count` payments.
pub(super) fn fill(scene: &Scene, partitions: i32, count: u64) -> Result<()> {
    let mut payments = made_up(10_000.0, count);
    let topic = &scene.names.transactions;
    topic::fill(&scene.brokers, topic, partitions, count, |_, draft| {
        let payment = payments.next().context("too few payments")?;
        draft.key.extend(payment.key().bytes());
        Ok(payment.write_json(&mut draft.value)?)
    })?;
    Ok(())
}

/// Sends payments at `rate` a second until stopped; returns their number.
pub(super) fn stream(scene: &Scene, rate: u64, stop: &AtomicBool) -> Result<u64> {
    let producer = Producer::open(&scene.brokers)?;
    let topic = &scene.names.transactions;
    let (mut value, mut sent) = (Vec::new(), 0);
    for payment in made_up(rate as f64, u64::MAX) {
        let early = payment.time_ms() - now_ms();
        if early > 0 {
            thread::sleep(Duration::from_millis(early as u64));
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        value.clear();
        payment.write_json(&mut value)?;
        producer.send(topic, Some(payment.key().as_bytes()), Some(&value), None)?;
        sent += 1;
    }
    producer.flush()?;
    Ok(sent)
}
