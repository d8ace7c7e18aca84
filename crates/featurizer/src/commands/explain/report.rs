//! Compares the sources, feature by feature, and tells where each event counts.

use super::Found;
use super::replay::Event;
use jiff::Timestamp;
use serde::Serialize;
use tidemill_core::features::{Definitions, Evaluation, FeatureValue};

/// The facts about a user at a time.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) user: String,
    pub(super) as_of: String,
    /// True if stored and replayed values differ, a hash is missing, or nothing is known of the user.
    pub(super) differs: bool,
    pub(super) features: Vec<Row>,
    /// An event counts, and there is no hash.
    pub(super) hash_missing: bool,
    /// Windows are stored of other feature definitions than the ones given.
    pub(super) other_definitions: bool,
    /// The time from which the values change though no event follows.
    pub(super) right_until: String,
    /// The stored window counts each event by itself; otherwise the oldest are summed up by the minute.
    pub(super) exact: bool,
    /// Offsets that retention deleted while the topic was read.
    pub(super) lost_offsets: i64,
    /// The Kafka time from which the topic was read.
    pub(super) since: String,
    /// The user's events, oldest first.
    pub(super) events: Vec<Line>,
}

/// One feature according to the three sources; `None` where a source has no value.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) hash: Option<String>,
    pub(super) window: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) same: bool,
}

/// One event.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) time: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) counts_in: Vec<String>,
    pub(super) value: String,
}

impl Report {
    pub(super) fn new(definitions: &Definitions, user: &str, found: &Found) -> Self {
        let as_of = found.hash.iter().find(|(name, _)| name == "_as_of");
        let of_this_time = as_of.is_some_and(|(_, value)| *value == found.at.to_string());
        let stored = found.stored.as_ref();
        let exact = stored.is_none_or(|stored: &Evaluation| stored.exact);
        let mut features = Vec::new();
        for (index, feature) in definitions.features().iter().enumerate() {
            let hash = found.hash.iter().find(|(name, _)| *name == feature.name);
            let hash = hash.filter(|_| of_this_time).map(|(_, value)| value);
            let stored = stored.map(|evaluation| evaluation.values[index]);
            let replayed = found.replayed.values[index];
            let agrees = |number| agree(number, replayed.number());
            let hash_agrees = !of_this_time || agrees(hash.and_then(|text| text.parse().ok()));
            // A value without a window may rest on records older than those read.
            let unknown = feature.window_ms.is_none() && replayed == FeatureValue::Absent;
            features.push(Row {
                name: feature.name.clone(),
                hash: hash.cloned(),
                window: stored.and_then(text),
                topic: text(replayed),
                same: unknown || hash_agrees && stored.is_none_or(|stored| agrees(stored.number())),
            });
        }
        let line = |event: &Event| Line {
            time: time(event.time),
            partition: event.partition,
            offset: event.offset,
            counts_in: definitions
                .counts_in(&event.entry, found.at)
                .map(|feature| feature.name.clone())
                .collect(),
            value: event.text.clone(),
        };
        let events: Vec<Line> = found.events.iter().map(line).collect();
        let counts = events.iter().any(|event| !event.counts_in.is_empty());
        let hash_missing = found.present && found.hash.is_empty() && counts;
        let unknown = events.is_empty() && found.hash.is_empty() && stored.is_none();
        let differs = features.iter().any(|row| !row.same) && found.replayed.exact && exact;
        Self {
            user: user.to_owned(),
            as_of: time(found.at),
            differs: differs || hash_missing || unknown,
            // Of an unknown user there is nothing to compare.
            features: if unknown { Vec::new() } else { features },
            hash_missing,
            other_definitions: found.other_definitions,
            right_until: time(found.replayed.valid_until),
            exact,
            lost_offsets: found.lost,
            since: time(found.since),
            events,
        }
    }
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

fn time(millis: i64) -> String {
    let time = Timestamp::from_millisecond(millis);
    time.map_or_else(|_| format!("{millis} ms"), |time| time.to_string())
}

/// The value as the hash has it; `None` if absent.
fn text(value: FeatureValue) -> Option<String> {
    let mut text = Vec::new();
    value.write(&mut text);
    let text = String::from_utf8(text).ok()?;
    (!text.is_empty()).then_some(text)
}
