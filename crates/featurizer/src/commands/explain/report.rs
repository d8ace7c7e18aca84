//! Prints the comparison and decides if the sources agree.

use super::Found;
use super::replay::Event;
use jiff::Timestamp;
use std::fmt::{self, Write as _};
use std::process::ExitCode;
use tidemill_core::features::{Definitions, Evaluation, FeatureValue};
use tidemill_core::printing::tell;

/// Prints the report; exit code 1 if stored and replayed values differ, or the user is unknown.
pub(super) fn print(
    definitions: &Definitions,
    user: &str,
    found: &Found,
) -> anyhow::Result<ExitCode> {
    let (text, differs) = describe(definitions, user, found)?;
    tell(&text)?;
    Ok(ExitCode::from(u8::from(differs)))
}

/// The report, and true if values differ, or nothing is known of the user.
fn describe(
    definitions: &Definitions,
    user: &str,
    found: &Found,
) -> Result<(String, bool), fmt::Error> {
    let mut out = String::new();
    if found.events.is_empty() && found.hash.is_empty() && found.stored.is_none() {
        writeln!(
            out,
            "user {user}: no events since {}, and nothing stored",
            time(found.since)
        )?;
        return Ok((out, true));
    }
    writeln!(out, "{user} as of {}", time(found.at))?;
    let as_of = found
        .hash
        .iter()
        .find(|(name, _)| name == "_as_of")
        .map(|(_, value)| value.as_str());
    let hash_applies = as_of == Some(found.at.to_string().as_str());
    writeln!(
        out,
        "{:<28} {:>22} {:>22} {:>22}",
        "feature", "hash", "stored window", "topic"
    )?;
    let mut differs = false;
    for (index, feature) in definitions.features().iter().enumerate() {
        let hash = found.hash.iter().find(|(name, _)| *name == feature.name);
        let hash = hash
            .filter(|_| hash_applies)
            .map(|(_, value)| value.as_str());
        let stored = found
            .stored
            .as_ref()
            .map(|evaluation| evaluation.values[index]);
        let replayed = found.replayed.values[index];
        // A value without a window may rest on records older than those read.
        let unknown = feature.window_ms.is_none() && replayed == FeatureValue::Absent;
        let same = unknown
            || (stored.is_none_or(|stored| agree(stored.number(), replayed.number()))
                && (!hash_applies
                    || agree(hash.and_then(|text| text.parse().ok()), replayed.number())));
        differs |= !same && found.replayed.exact && exact(found);
        let own = |value: Option<FeatureValue>| value.map_or_else(|| "-".to_owned(), text);
        let mark = if same { "" } else { "  differs" };
        writeln!(
            out,
            "{:<28} {:>22} {:>22} {:>22}{mark}",
            feature.name,
            hash.unwrap_or("-"),
            own(stored),
            own(Some(replayed)),
        )?;
    }
    let counts =
        |event: &Event| event.time <= found.at && event.time > found.at - definitions.longest_ms();
    if found.present && found.hash.is_empty() && found.events.iter().any(counts) {
        differs = true;
        writeln!(out, "there is no hash of the user: differs")?;
    }
    writeln!(out, "right until {}", time(found.replayed.valid_until))?;
    if found.lost > 0 {
        writeln!(
            out,
            "{} offsets were deleted by retention while the topic was read",
            found.lost
        )?;
    }
    if !exact(found) {
        writeln!(
            out,
            "the stored window sums its oldest events up by the minute, and may count up to a minute too much"
        )?;
    }
    writeln!(
        out,
        "\n{} events since {}:",
        found.events.len(),
        time(found.since)
    )?;
    for event in &found.events {
        let mark = if counts(event) { ' ' } else { '-' };
        let place = format!("{}/{}", event.partition, event.offset);
        writeln!(
            out,
            "{mark} {} {place:>14}  {}",
            time(event.time),
            event.text
        )?;
    }
    Ok((out, differs))
}

fn exact(found: &Found) -> bool {
    found
        .stored
        .as_ref()
        .is_none_or(|stored: &Evaluation| stored.exact)
}

/// True if equal but for the order in which numbers were added up.
fn agree(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            (one - other).abs() <= 1e-9 * one.abs().max(other.abs()).max(1.0)
        }
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn text(value: FeatureValue) -> String {
    let mut text = Vec::new();
    value.write(&mut text);
    if text.is_empty() {
        "-".to_owned()
    } else {
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn time(millis: i64) -> String {
    match Timestamp::from_millisecond(millis) {
        Ok(time) => time.to_string(),
        Err(_) => millis.to_string(),
    }
}
