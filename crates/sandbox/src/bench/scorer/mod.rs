//! `sandbox bench scorer`: predictions a second, time to a visible prediction, and what kills and model swaps cost.

mod against;
mod bare;
mod company;
mod kills;
mod latency;
mod live;
mod payments;
mod plain;
mod rates;
mod shapes;
mod steady;
mod swap;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tidemill_core::tell_line;

use crate::harness::Binaries;
use crate::place::home;
use crate::stack::{Options, Stack};

/// Partitions of each topic.
const PARTITIONS: i32 = 4;

/// Most payments of the topics with many partitions, whose transactions take long. Fewer than a million are scored before
/// all workers are at work.
const SHAPED: u64 = 2_000_000;

/// Flags.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// One part only
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Payments of the full topic
    #[arg(long, default_value_t = 3_000_000)]
    payments: u64,
    /// Seconds of each latency measurement
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Instead: this build and the executables in FOLDER by turns, 5 rounds on one load; medians and spread of both
    #[arg(long, value_name = "FOLDER", conflicts_with = "only")]
    against: Option<PathBuf>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// A full topic, beside a bare copy loop and a plain loop
    Rates,
    /// From payment to visible prediction
    Latency,
    /// A full topic of 4, 64 and 256 partitions
    Partitions,
    /// After kill -9
    Kills,
    /// Around model swaps
    Swap,
}

pub(super) fn command(flags: &Flags) -> Result<()> {
    // Not while something is measured.
    Binaries::build()?;
    let stack = Stack::start(&Options::from_environment())?;
    if let Some(folder) = &flags.against {
        tell_line!("{}", against::measure(&stack, flags, folder)?)?;
        return Ok(());
    }
    let wanted = |part| flags.only.is_none_or(|only| only == part);
    if wanted(Part::Rates) {
        tell_line!("{}", rates::measure(&stack, flags.payments)?)?;
    }
    if wanted(Part::Partitions) {
        tell_line!("{}", shapes::measure(&stack, flags.payments.min(SHAPED))?)?;
    }
    if wanted(Part::Latency) {
        let each = Duration::from_secs(flags.seconds);
        tell_line!("{}", latency::measure(&stack, each)?)?;
    }
    if wanted(Part::Swap) {
        tell_line!(
            "{}",
            swap::measure(&stack, &home()?.join("models/fraud.onnx"))?
        )?;
    }
    if wanted(Part::Kills) {
        tell_line!("{}", kills::measure(&stack)?)?;
    }
    Ok(())
}
