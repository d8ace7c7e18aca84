//! Time to a prediction whose scorer was killed with `kill -9` and started again at once.

use std::time::Duration;

use anyhow::Result;

use super::live::{self, Live};
use crate::bench::table;
use crate::harness::until;
use crate::simulate::now_ms;
use crate::stack::Stack;

/// Number of kills.
const KILLS: usize = 4;

/// Payments a second meanwhile.
const RATE: u64 = 1_000;

/// Shortest time between two kills (ms).
const LEAST_MS: u64 = 4_000;

/// Time limit until predictions come again: a session, and a transaction that nobody ends.
const LIMIT: Duration = Duration::from_secs(40);

/// Measures with and without a lasting name, and returns the table.
pub(super) fn measure(stack: &Stack) -> Result<String> {
    let mut rows = Vec::new();
    for (name, more) in [
        ("with `--instance`", &["--instance", "bench"][..]),
        ("without", &[]),
    ] {
        let waits = waits(stack, more)?;
        let mut row = vec![name.to_owned()];
        row.extend(
            waits
                .iter()
                .map(|ms| format!("{:.1}", *ms as f64 / 1_000.0)),
        );
        rows.push(row);
    }
    let header = [
        "slowest prediction after `kill -9`, s",
        "1st",
        "2nd",
        "3rd",
        "4th",
    ];
    Ok(table(&header, &rows))
}

/// The slowest prediction after each kill, in milliseconds.
fn waits(stack: &Stack, more: &[&str]) -> Result<Vec<u64>> {
    let (live, kills) = Live::run(&live::scene(stack)?, RATE, more, |scorer, watch| {
        let mut kills = Vec::new();
        for _ in 0..KILLS {
            kills.push(now_ms());
            scorer.kill()?;
            let before = watch.count();
            scorer.start_again()?;
            until("the scorer to catch up", LIMIT, || {
                let waited = u64::try_from(now_ms() - kills[kills.len() - 1])?;
                let sent = before + waited * RATE / 1_000;
                let caught_up = waited >= LEAST_MS && watch.count() + RATE / 2 >= sent;
                Ok(caught_up.then_some(()))
            })?;
        }
        kills.push(now_ms());
        Ok(kills)
    })?;
    let between = kills
        .windows(2)
        .map(|pair| live.latency(pair[0] - 500, pair[1] - 500));
    between.map(|found| Ok(found?.max_ms)).collect()
}
