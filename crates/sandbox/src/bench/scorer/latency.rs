//! Time from producing a payment until a read_committed reader sees its prediction, at a steady rate, beside a bare
//! copy.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use tidemill_core::remark_line;

use super::company;
use super::live::{self, Live};
use super::steady::{self, Steady};
use crate::bench::table;
use crate::kafka::first_record;
use crate::stack::Stack;

/// Time after which answers no longer become faster.
const COMPILED: Duration = Duration::from_secs(25);

/// Transactions in sequence.
const UNPACED: &[&str] = &["--commit-share", "1"];

/// Measures a bare copy and both guarantees at two rates, for this long each, and returns the table.
pub(super) fn measure(stack: &Stack, each: Duration) -> Result<String> {
    // A broker that has run for a while has compiled its code; a fresh one takes several times as long.
    let warm_up = live::scene(stack)?;
    Live::run(&warm_up, 1_000, &[], |_, _| {
        thread::sleep(COMPILED);
        Ok(())
    })?;
    let sample = first_record(stack.brokers(), &warm_up.names.predictions)?;
    let mut rows = Vec::new();
    for rate in [1_000, 10_000] {
        let mut told = |name: &str, found: Steady| {
            remark_line!("{name}, {rate} payments/s: {:?}", found.cells());
            let mut row = vec![name.to_owned(), rate.to_string()];
            row.extend(found.cells());
            rows.push(row);
        };
        let copied = || steady::copied(stack, &live::scene(stack)?, rate, &sample, each);
        let scored = |more: &[&str]| steady::scored(stack, &live::scene(stack)?, rate, more, each);
        told("bare copy, exactly once", copied()?);
        told("scorer, exactly once", scored(&[])?);
        told("the same without pauses", scored(UNPACED)?);
        told(
            "scorer, at least once",
            scored(&["--delivery", "at-least-once"])?,
        );
        told(
            "bare copy, beside another load",
            company::beside(stack, copied)?,
        );
        told("scorer, beside it", company::beside(stack, || scored(&[]))?);
        told(
            "the same without pauses",
            company::beside(stack, || scored(UNPACED))?,
        );
    }
    let header = [&["", "payments/s"][..], &steady::HEADER].concat();
    let load = format!(
        "The other load: {} payments/s that nobody scores, and a reader of them.\n",
        company::RATE
    );
    Ok(table(&header, &rows) + "\n" + &load)
}
