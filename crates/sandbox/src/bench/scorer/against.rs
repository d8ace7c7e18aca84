//! Two builds of the scorer by turns: predictions a second on a full topic, and time to a visible prediction.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::live::{self, Live};
use super::rates::{score, topic};
use super::{Flags, PARTITIONS, payments};
use crate::bench::against::{Figures, alternate};
use crate::harness::{Names, Scene};
use crate::kafka::delete_topic;
use crate::simulate::now_ms;
use crate::stack::Stack;

/// Payments a second while latency is measured.
const PACED: u64 = 1_000;

/// Has both builds score one full topic, and paced payments of topics of their own.
pub(super) fn measure(stack: &Stack, flags: &Flags, folder: &Path) -> Result<String> {
    let mut full = Scene::on(stack, Names::unique("against"), PARTITIONS)?;
    payments::fill(&full, flags.payments)?;
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
        let mut paced = live::scene(stack)?;
        paced.binaries = Some(binaries.clone());
        let (live, (from, to)) = Live::run(&paced, PACED, &[], |_, _| {
            let from = now_ms();
            thread::sleep(Duration::from_secs(flags.seconds));
            Ok((from, now_ms()))
        })?;
        let latency = live.latency(from, to)?;
        Ok(Figures::from([
            ("scorer, exactly once, records/s", exactly_once),
            ("scorer, exactly once, CPU us a record", cpu_us),
            ("scorer, at least once, records/s", at_least_once),
            ("to a visible prediction, p50 ms", latency.p50_ms as f64),
            ("to a visible prediction, p99 ms", latency.p99_ms as f64),
        ]))
    })
}
