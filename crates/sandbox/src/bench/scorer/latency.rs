//! From producing a payment until a read_committed reader sees its prediction, at a steady rate.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use tidemill_core::remark_line;

use super::live::{self, Live};
use crate::bench::table;
use crate::simulate::now_ms;
use crate::stack::Stack;

/// Until times to answer no longer fall.
const COMPILED: Duration = Duration::from_secs(25);

/// Measures both guarantees at two rates, for so long each, and returns the table.
pub(super) fn measure(stack: &Stack, each: Duration) -> Result<String> {
    // A broker that has run for a while has compiled its code; a fresh one takes several times as long.
    Live::run(&live::scene(stack)?, 1_000, &[], |_, _| {
        thread::sleep(COMPILED);
        Ok(())
    })?;
    let mut rows = Vec::new();
    for (name, delivery) in [
        ("exactly once", "exactly-once"),
        ("at least once", "at-least-once"),
    ] {
        for rate in [1_000, 10_000] {
            let (live, (from, to)) = Live::run(
                &live::scene(stack)?,
                rate,
                &["--delivery", delivery],
                |_, _| {
                    let from = now_ms();
                    thread::sleep(each);
                    Ok((from, now_ms()))
                },
            )?;
            let found = live.latency(from, to)?;
            remark_line!("{name}, {rate} payments/s: {found:?}");
            let mut row = vec![name.to_owned(), rate.to_string()];
            row.extend([found.p50_ms, found.p99_ms, found.max_ms].map(|ms| ms.to_string()));
            rows.push(row);
        }
    }
    let header = ["", "payments/s", "p50 ms", "p99 ms", "slowest ms"];
    Ok(table(&header, &rows))
}
