//! The collector's own executable over a whole topic, watched from outside.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::bench::rates::Measured;
use crate::bench::usage::{peak, used};
use crate::harness::Binaries;
use crate::process::{Launch, Process};
use crate::stack::Stack;

/// Its log line right before its first record: other rates do not include connecting either.
const STARTED: &str = "bounded run";

/// The result of a run.
#[derive(Debug)]
pub(super) struct Run {
    /// From its start to its end.
    pub(super) whole: Duration,
    /// The time after it had connected, learnt the schema and taken in a history.
    pub(super) elapsed: Duration,
    /// Peak memory.
    pub(super) peak_bytes: u64,
    /// Processor time of all its threads.
    pub(super) cpu: Duration,
    /// Size of all data files.
    pub(super) file_bytes: u64,
    /// Its log.
    pub(super) log: String,
}

impl Run {
    /// Its rate over this many records.
    pub(super) fn measured(&self, records: u64) -> Measured {
        Measured {
            records,
            elapsed: self.elapsed,
        }
    }
}

/// Collects everything in a topic into a new folder, with default flags and `more`.
pub(super) fn collect(
    binaries: &Binaries,
    stack: &Stack,
    topic: &str,
    out: &Path,
    more: &[&str],
) -> Result<Run> {
    let program = binaries.path("collector");
    let folder = out.with_extension("run");
    fs::create_dir_all(&folder)?;
    let path = out.to_str().context("the folder's path is not UTF-8")?;
    let own = [
        "--brokers",
        stack.brokers(),
        "--topic",
        topic,
        "--out",
        path,
    ];
    let bounded = ["--until-end", "--admin-addr", "none"];
    let arguments = own.iter().chain(&bounded).chain(more);
    let begun = Instant::now();
    let mut process = Process::spawn(Launch {
        name: "collector".to_owned(),
        program,
        arguments: arguments.map(Into::into).collect(),
        environment: Vec::new(),
        folder,
        detached: false,
    })?;
    let mut start = None;
    let (mut peak_bytes, mut cpu) = (0, Duration::ZERO);
    let status = loop {
        // Both only grow, so that the last observation is nearly the final value.
        peak_bytes = peak(process.pid()).unwrap_or(peak_bytes);
        cpu = used(process.pid()).unwrap_or(cpu);
        if start.is_none() && process.output().contains(STARTED) {
            start = Some(Instant::now());
        }
        if let Some(status) = process.ended()? {
            break status;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let whole = begun.elapsed();
    let elapsed = start.unwrap_or(begun).elapsed();
    ensure!(status.success(), "{}", process.output());
    let mut file_bytes = 0;
    for file in fs::read_dir(out)? {
        let file = file?.metadata()?;
        file_bytes += if file.is_file() { file.len() } else { 0 };
    }
    Ok(Run {
        whole,
        elapsed,
        peak_bytes,
        cpu,
        file_bytes,
        log: process.output(),
    })
}
