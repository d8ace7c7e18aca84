//! `sandbox bench collector`: a topic of labeled events into Parquet; the effect of memory and codecs on it.

mod against;
mod history;
mod memory;
mod ours;
mod plain;

use std::path::PathBuf;

use anyhow::Result;
use tidemill_core::tell_line;

use super::rates::{Measured, Rates, table};
use super::topic::{drain, fill};
use crate::harness::{Binaries, Names};
use crate::progress;
use crate::simulate::{Event, Settings, Traffic};
use crate::stack::{Options, Stack};

/// Flags.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// Labeled events
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    /// Bound given to the collector, in MB
    #[arg(long, default_value_t = 512)]
    memory_mb: u64,
    /// Instead: point-in-time features from so many user events
    #[arg(long, value_name = "EVENTS")]
    history: Option<u64>,
    /// Instead: the peak memory with records of every awkward kind
    #[arg(long, conflicts_with = "history")]
    memory: bool,
    /// Instead: this build and the executables in FOLDER by turns, 5 rounds on one load; medians and spread of both
    #[arg(long, value_name = "FOLDER", conflicts_with = "history")]
    against: Option<PathBuf>,
}

/// Partitions of every topic.
const PARTITIONS: i32 = 4;

/// The collector's default.
const CODEC: &str = "zstd";

pub(super) fn command(flags: &Flags) -> Result<()> {
    // Not while something is measured.
    let binaries = Binaries::build()?;
    let stack = Stack::start(&Options::from_environment())?;
    if let Some(events) = flags.history {
        return history::measure(&stack, events, flags.memory_mb);
    }
    if flags.memory {
        tell_line!("{}", memory::measure(binaries, &stack, flags.memory_mb)?)?;
        return Ok(());
    }
    let topic = Names::unique("bench").labeled_events;
    write_labels(&stack, &topic, flags.records)?;
    if let Some(other) = &flags.against {
        tell_line!("{}", against::measure(&stack, &topic, flags, other)?)?;
        return Ok(());
    }
    let drained = drain(stack.brokers(), &topic, flags.records)?;
    let folder = tempfile::tempdir()?;
    let spinner = progress::spinner("the plain loop");
    let plain = plain::collect(
        stack.brokers(),
        &topic,
        flags.records,
        &folder.path().join("plain"),
    )?;
    spinner.done("the plain loop is done");

    let mut ours = Vec::new();
    for codec in ["none", "snappy", "lz4", CODEC] {
        let memory = flags.memory_mb.to_string();
        let more = ["--compression", codec, "--memory-mb", &memory];
        let run = ours::collect(binaries, &stack, &topic, &folder.path().join(codec), &more)?;
        ours.push((codec, run));
    }
    let mut rates = Rates::new(
        "records/s",
        ("reading alone", drained),
        ("plain loop", plain.measured(flags.records)),
    );
    let (_, default) = &ours[ours.len() - 1];
    rates.add("collector", default.measured(flags.records));
    tell_line!("{}", rates.markdown())?;
    let bound = format!(
        "Peak memory of the collector's process with `--memory-mb {}`: {} MB.\n",
        flags.memory_mb,
        default.peak_bytes >> 20
    );
    tell_line!("{bound}")?;
    let row = |(codec, run): &(&str, ours::Run)| {
        let records = flags.records as f64;
        vec![
            (*codec).to_owned(),
            format!("{:.0}", run.file_bytes as f64 / records),
            format!("{:.0}", run.measured(flags.records).per_second()),
            format!("{:.2}", run.cpu.as_secs_f64() * 1e6 / records),
        ]
    };
    let rows: Vec<Vec<String>> = ours.iter().map(row).collect();
    let header = ["compression", "bytes a row", "records/s", "CPU us a record"];
    tell_line!("{}", table(&header, &rows))?;
    Ok(())
}

/// Fills a topic with the labels of the simulated world.
fn write_labels(stack: &Stack, topic: &str, records: u64) -> Result<Measured> {
    let traffic = Traffic::new(Settings {
        seed: 7,
        start_ms: 1_771_151_400_000,
        rate: 100.0,
        count: records,
        customers: 20_000,
        fraud_share: 0.02,
        label_delay_ms: 60_000.0,
        browsing: 0.0,
    });
    let mut labels = traffic.filter(|happening| matches!(happening.event, Event::Label(_)));
    let spinner = progress::spinner("writing labeled events");
    let written = fill(stack.brokers(), topic, PARTITIONS, records, |_, draft| {
        if let Some(label) = labels.next() {
            draft.key.extend_from_slice(label.event.key().as_bytes());
            label.event.write_json(&mut draft.value)?;
        }
        Ok(())
    });
    spinner.done("wrote labeled events");
    written
}
