//! The cost of a model swap under load for the payments of that moment.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::live::{self, Live};
use super::rates::number;
use crate::bench::table;
use crate::harness::until;
use crate::simulate::now_ms;
use crate::stack::{Stack, scratch, state_folder};

/// Number of swaps.
const SWAPS: usize = 5;

/// Payments a second meanwhile.
const RATE: u64 = 1_000;

/// Measures and returns the table.
pub(super) fn measure(stack: &Stack, model: &Path) -> Result<String> {
    let folder = scratch::folder(&state_folder())?;
    let live_model = folder.join("live.onnx");
    let install = || -> Result<()> {
        for extension in ["toml", "onnx"] {
            let staged = live_model.with_extension("staged");
            fs::copy(model.with_extension(extension), &staged)?;
            fs::rename(&staged, live_model.with_extension(extension))?;
        }
        Ok(())
    };
    install()?;
    let path = live_model.to_string_lossy();
    let (live, (swaps, quiet)) = Live::run(
        &live::scene(stack)?,
        RATE,
        &["--model", &path],
        |scorer, _| {
            let quiet = now_ms();
            thread::sleep(Duration::from_secs(5));
            let mut swaps = Vec::new();
            for swap in 1..=SWAPS {
                install()?;
                until("the model to be swapped", Duration::from_secs(30), || {
                    let swapped = number(scorer, "tidemill_model_swaps_total")?;
                    Ok((swapped >= swap as f64).then_some(()))
                })?;
                swaps.push(now_ms());
                thread::sleep(Duration::from_secs(1));
            }
            Ok((swaps, quiet))
        },
    )?;
    let _left = fs::remove_dir_all(&folder);
    let before = live.latency(quiet, quiet + 5_000)?;
    // The loading comes before, the first use after.
    let around = swaps.iter().map(|at| live.latency(at - 500, at + 500));
    let around = around.collect::<Result<Vec<_>>>()?;
    let p50 = around.iter().map(|found| found.p50_ms).max();
    let slowest = around.iter().map(|found| found.max_ms).max();
    let row = |name: &str, p50: u64, slowest: u64| {
        vec![name.to_owned(), p50.to_string(), slowest.to_string()]
    };
    let rows = [
        row("5 s before the first swap", before.p50_ms, before.max_ms),
        row(
            &format!("the worst second around one of {SWAPS} swaps"),
            p50.unwrap_or(0),
            slowest.unwrap_or(0),
        ),
    ];
    Ok(table(&["", "p50 ms", "slowest ms"], &rows))
}
