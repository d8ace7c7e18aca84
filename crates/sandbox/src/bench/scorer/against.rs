//! Two builds of the scorer in alternation: predictions a second on a full topic, and time to a visible prediction.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::live;
use super::rates::{score, topic};
use super::steady;
use super::{Flags, PARTITIONS, payments};
use crate::bench::against::{Figures, alternate};
use crate::harness::{Names, Scene};
use crate::kafka::delete_topic;
use crate::stack::Stack;

/// Payments a second while latency is measured, with the names of the figures.
const PACED: [(u64, [&str; 4]); 2] = [
    (
        1_000,
        [
            "1,000/s: p50 ms",
            "1,000/s: p99 ms",
            "1,000/s: transactions/s",
            "1,000/s: broker CPU s a 1,000",
        ],
    ),
    (
        10_000,
        [
            "10,000/s: p50 ms",
            "10,000/s: p99 ms",
            "10,000/s: transactions/s",
            "10,000/s: broker CPU s a 1,000",
        ],
    ),
];

/// Measures both builds on one full topic, and on paced payments of topics of their own.
pub(super) fn measure(stack: &Stack, flags: &Flags, folder: &Path) -> Result<String> {
    let mut full = Scene::on(stack, Names::unique("against"), PARTITIONS)?;
    payments::fill(&full, PARTITIONS, flags.payments)?;
    let mut run = 0;
    alternate(folder, |binaries| {
        run += 1;
        full.binaries = Some(binaries.clone());
        let scored = |delivery: &str| -> Result<(f64, f64)> {
            let purpose = format!("{delivery}-{run}");
            let scored = score(&full, flags.payments, delivery, &purpose)?;
            delete_topic(&full.brokers, &topic(&full, &purpose))?;
            let cpu_us = scored.cpu.as_secs_f64() * 1e6 / flags.payments as f64;
            Ok((scored.found.per_second(), cpu_us))
        };
        let (exactly_once, cpu_us) = scored("exactly-once")?;
        let (at_least_once, _) = scored("at-least-once")?;
        let mut figures = Figures::from([
            ("scorer, exactly once, records/s", exactly_once),
            ("scorer, exactly once, CPU us a record", cpu_us),
            ("scorer, at least once, records/s", at_least_once),
        ]);
        for (rate, names) in PACED {
            let mut scene = live::scene(stack)?;
            scene.binaries = Some(binaries.clone());
            let each = Duration::from_secs(flags.seconds);
            let found = steady::scored(stack, &scene, rate, &[], each)?;
            let broker = found.broker_seconds_per_1000.unwrap_or_default();
            let values = [
                found.latency.p50_ms as f64,
                found.latency.p99_ms as f64,
                found.transactions_per_second,
                broker,
            ];
            figures.extend(names.into_iter().zip(values));
        }
        Ok(figures)
    })
}
