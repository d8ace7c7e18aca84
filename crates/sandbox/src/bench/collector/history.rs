//! Point-in-time features: the memory and time that a history of many user events takes.

use anyhow::{Context, Result};
use tidemill_core::tell_line;

use super::{PARTITIONS, fill, ours, write_labels};
use crate::bench::rates::table;
use crate::harness::{Binaries, Names};
use crate::place::checkout;
use crate::progress;
use crate::stack::Stack;

/// Labeled events that ask for features.
const LABELS: u64 = 200_000;

/// Users of the events; those of the labels are among them.
const USERS: u64 = 100_000;

/// Start of the events: a day before the labels.
const BEGIN_MS: i64 = 1_771_065_000_000;

/// Duration of the events: until the last label.
const SPAN_MS: u64 = 90_000_000;

/// Collects the same labels without and with features from `events` user events.
pub(super) fn measure(stack: &Stack, events: u64, memory_mb: u64) -> Result<()> {
    let names = Names::unique("bench");
    write_labels(stack, &names.labeled_events, LABELS)?;
    let spinner = progress::spinner("writing user events");
    fill(
        stack.brokers(),
        &names.user_events,
        PARTITIONS,
        events,
        |number, draft| {
            use std::io::Write as _;
            let user = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let user = format!("u_{:05}", user % USERS);
            let time = BEGIN_MS + (number as f64 / events as f64 * SPAN_MS as f64) as i64;
            let cents = number % 20_000;
            write!(
                draft.value,
                r#"{{"user_id":"{user}","action":"purchase","amount":{}.{:02},"timestamp":{time}}}"#,
                cents / 100,
                cents % 100
            )?;
            draft.key.extend_from_slice(user.as_bytes());
            draft.timestamp_ms = Some(time);
            Ok(())
        },
    )?;
    spinner.done("wrote user events");

    let binaries = Binaries::build()?;
    let folder = tempfile::tempdir()?;
    let memory = memory_mb.to_string();
    let bound = ["--memory-mb", memory.as_str()];
    let topic = &names.labeled_events;
    let without = ours::collect(
        binaries,
        stack,
        topic,
        &folder.path().join("without"),
        &bound,
    )?;
    // The featurizer's default features.
    let features = checkout().context("the definitions of the features lie in the checkout")?;
    let features = features.join("crates/core/src/features/standard.toml");
    let features = features
        .to_str()
        .context("the checkout's path is not UTF-8")?;
    let more = ["--features", features, "--events-topic", &names.user_events];
    let all = [bound.as_slice(), &more].concat();
    let with = ours::collect(binaries, stack, topic, &folder.path().join("with"), &all)?;
    let added = with.peak_bytes.saturating_sub(without.peak_bytes);
    let row = |name: &str, run: &ours::Run| {
        vec![
            name.to_owned(),
            format!("{:.1}", run.whole.as_secs_f64()),
            (run.peak_bytes >> 20).to_string(),
        ]
    };
    let name = format!("features from {events} events");
    let rows = [row("no features", &without), row(&name, &with)];
    tell_line!(
        "{}",
        table(&["200,000 labeled events", "s", "peak MB"], &rows)
    )?;
    tell_line!("{:.0} bytes an event", added as f64 / events as f64)?;
    let mut told = with.log.lines().filter(|line| line.contains("events="));
    told.try_for_each(|line| tell_line!("{line}"))
}
