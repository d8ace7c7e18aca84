//! `sandbox bench`: the speed of each binary, next to the limit and a plain loop, all in one run on one machine.
//!
//! Figures of two machines, or of two days, are hardly comparable; ratios within one run are. Each bench prints
//! Markdown tables, ready for a README.

mod against;
mod collector;
mod drain;
mod featurizer;
mod model;
mod rates;
mod scorer;
mod topic;
mod usage;

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;

pub use rates::{Measured, Rates, table};
use tidemill_core::tell_line;

use crate::harness::{Scene, until};
use crate::kafka;

/// Time limit for joining a group.
const JOINED: Duration = Duration::from_secs(60);

/// The subject of a measurement.
#[derive(Subcommand, Debug)]
pub enum Bench {
    /// The limit of Kafka and its client here: a topic written, and read by a loop that does nothing else
    Drain(drain::Flags),
    /// The collector beside reading alone and a plain loop; memory; compression
    Collector(collector::Flags),
    /// Predictions a second, time to a visible prediction, and what kills and model swaps cost
    Scorer(scorer::Flags),
    /// Events a second from Kafka into Redis with exact windows, and how fresh they are there
    Featurizer(featurizer::Flags),
    /// Delay until features are rewritten when events leave the windows of a million users
    Decay(featurizer::decay::Flags),
    /// Models: agreement with onnxruntime, and the time of a row beside tract alone and onnxruntime
    Model(model::Flags),
}

/// Measures, and prints the results.
pub fn command(bench: &Bench) -> Result<()> {
    tell_line!("{}", machine())?;
    match bench {
        Bench::Drain(flags) => drain::command(flags),
        Bench::Collector(flags) => collector::command(flags),
        Bench::Scorer(flags) => scorer::command(flags),
        Bench::Featurizer(flags) => featurizer::command(flags),
        Bench::Decay(flags) => featurizer::decay::command(flags),
        Bench::Model(flags) => model::command(flags),
    }
}

/// The default number of workers of a featurizer or scorer; a bare loop has as many.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4))
}

/// Waits until all workers of a group have partitions. Starting, joining the group and assigning its partitions happen
/// once, and are no part of a rate.
fn all_at_work(scene: &Scene, group: &str) -> Result<()> {
    until("partitions for all workers", JOINED, || {
        let count = kafka::members_at_work(&scene.brokers, group)?;
        Ok((count == workers()).then_some(()))
    })
}

/// The machine of the measurement, in a line.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    format!("{cores} cores of {model}, shared with Kafka and Redis\n")
}
