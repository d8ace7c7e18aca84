//! `sandbox bench drain`: the limit of broker and librdkafka on this machine.

use anyhow::Result;
use tidemill_core::tell_line;

use super::rates::table;
use super::topic::{drain, fill};
use crate::harness::Names;
use crate::stack::{Options, Stack};

/// The load to write and read.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// Records
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Bytes of a value
    #[arg(long, default_value_t = 200)]
    bytes: usize,
}

pub(super) fn command(flags: &Flags) -> Result<()> {
    let stack = Stack::start(&Options::from_environment())?;
    let topic = Names::unique("bench").user_events;
    let filled = fill(
        stack.brokers(),
        &topic,
        4,
        flags.records,
        |number, draft| {
            draft.key.extend(number.to_string().bytes());
            // Hardly compressible, as in reality.
            let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            draft.value.extend((0..flags.bytes).map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                b' ' + (state % 64) as u8
            }));
            Ok(())
        },
    )?;
    let drained = drain(stack.brokers(), &topic, flags.records)?;
    let row = |name: &str, rate: f64| {
        let megabytes = rate * flags.bytes as f64 / 1e6;
        vec![
            name.to_owned(),
            format!("{rate:.0}"),
            format!("{megabytes:.0}"),
        ]
    };
    let rows = [
        row("written", filled.per_second()),
        row("read", drained.per_second()),
    ];
    tell_line!("{}", table(&["", "records/s", "MB/s"], &rows))?;
    Ok(())
}
