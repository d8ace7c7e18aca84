//! `--reset`: moves an inactive group to `--start`, after showing from where to where.

use std::io::{IsTerminal, stdin};
use std::time::Duration;

use anyhow::Context;
use tidemill_core::exit::Failure;
use tidemill_core::kafka::Consumer;
use tidemill_core::printing::tell;
use tidemill_core::tell_line;

use crate::settings::Config;
use crate::start::find;

/// How long to wait for positions in an open transaction. A killed process may have left one: brokers end it once it is 10 s
/// old, and look for such every 10 s.
const OPEN_TRANSACTION: Duration = Duration::from_secs(30);

/// Moves the group's positions in all `count` partitions; false when the answer was no.
///
/// # Errors
///
/// The group has members, there is nobody to ask, or the brokers refuse.
pub fn reset(config: &Config, count: usize, agreed: bool) -> anyhow::Result<bool> {
    let shared = &config.shared;
    let consumer = Consumer::outside(&shared.kafka, &shared.group, &shared.topic)?;
    let partitions: Vec<i32> = (0..count as i32).collect();
    let from = consumer.committed(&partitions, OPEN_TRANSACTION)?;
    let to = find(&consumer, &partitions, config.start)?;
    tell_line!("group {} on topic {}:", shared.group, shared.topic)?;
    for ((partition, from), (_, to)) in from.iter().zip(&to) {
        match from {
            Some(from) => tell_line!("  partition {partition}: {from} -> {to} ({:+})", to - from)?,
            None => tell_line!("  partition {partition}: none -> {to}")?,
        }
    }
    if !agreed && !ask()? {
        return Ok(false);
    }
    // The brokers take positions from a client outside the group only while it has no members.
    consumer.commit(&to).with_context(|| {
        format!(
            "group {} cannot be moved while it has members; stop them first",
            shared.group
        )
    })?;
    tracing::info!(group = shared.group, positions = ?to, "group moved");
    Ok(true)
}

fn ask() -> anyhow::Result<bool> {
    if !stdin().is_terminal() {
        return Err(Failure::usage(
            "--reset has nobody to ask: add --yes to agree beforehand",
        ));
    }
    tell("move the group? [y/N] ")?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
