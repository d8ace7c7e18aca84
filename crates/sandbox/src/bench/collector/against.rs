//! Two builds of the collector in alternation over one topic: records a second, processor time, memory.

use std::path::Path;

use anyhow::Result;

use super::{Flags, ours};
use crate::bench::against::{Figures, alternate};
use crate::stack::Stack;

/// Collects all of a topic with both builds.
pub(super) fn measure(stack: &Stack, topic: &str, flags: &Flags, folder: &Path) -> Result<String> {
    let memory = flags.memory_mb.to_string();
    let more = ["--memory-mb", memory.as_str()];
    alternate(folder, |binaries| {
        let out = tempfile::tempdir()?;
        let run = ours::collect(binaries, stack, topic, &out.path().join("data"), &more)?;
        let cpu_us = run.cpu.as_secs_f64() * 1e6 / flags.records as f64;
        Ok(Figures::from([
            (
                "collector, records/s",
                run.measured(flags.records).per_second(),
            ),
            ("collector, CPU us a record", cpu_us),
            ("collector, peak MB", (run.peak_bytes >> 20) as f64),
        ]))
    })
}
