//! The flags of point-in-time features.

use crate::encode::schema::FeatureColumns;
use crate::features::Question;
use clap::Args;
use std::path::PathBuf;
use tidemill_core::features::Definitions;
use tidemill_core::settings::{Problems, parse_duration, parse_topic};

/// Flags of point-in-time features, as the user wrote them.
#[derive(Args, Clone, Debug)]
pub struct FeatureFlags {
    /// Add these features as of each record's time, from the users' events; for bounded runs
    #[arg(long, env = "TIDEMILL_FEATURES", value_name = "FILE", global = true)]
    pub features: Option<PathBuf>,

    /// Topic of the users' events
    #[arg(
        long,
        env = "TIDEMILL_EVENTS_TOPIC",
        default_value = "user-events",
        value_name = "TOPIC",
        global = true,
        hide_short_help = true
    )]
    pub events_topic: String,

    /// The record's field with the time of the evaluation
    #[arg(
        long,
        env = "TIDEMILL_AS_OF",
        default_value = "timestamp",
        value_name = "FIELD",
        global = true,
        hide_short_help = true
    )]
    pub as_of: String,

    /// Evaluate features this much earlier: what serving could know by then
    #[arg(
        long,
        env = "TIDEMILL_DELAY",
        default_value = "0s",
        value_name = "DURATION",
        global = true,
        hide_short_help = true
    )]
    pub delay: String,
}

/// Point-in-time features.
#[derive(Clone, Debug)]
pub struct Features {
    /// The features, and the time as of which they are evaluated.
    pub question: Question,
    /// The topic of the users' events.
    pub events_topic: String,
}

impl Features {
    /// The columns that they make.
    pub(crate) fn columns(&self) -> FeatureColumns {
        let Question {
            definitions,
            as_of,
            delay_ms,
        } = &self.question;
        let names = definitions
            .features()
            .iter()
            .map(|feature| feature.name.clone());
        FeatureColumns {
            names: names.collect(),
            definitions: definitions.fingerprint().to_owned(),
            ttl_ms: definitions.ttl_ms(),
            events_topic: self.events_topic.clone(),
            as_of: as_of.clone(),
            delay_ms: *delay_ms,
        }
    }
}

impl FeatureFlags {
    /// The features that are asked for; what is wrong with them is added to `problems`.
    pub(super) fn validate(&self, problems: &mut Problems) -> Option<Features> {
        let events_topic = problems.take("--events-topic", &self.events_topic, parse_topic);
        let delay = problems.take("--delay", &self.delay, |text| {
            let delay = parse_duration(text)?;
            i64::try_from(delay.as_millis()).map_err(|_| "use a shorter duration".to_owned())
        });
        if self.as_of.is_empty() {
            problems.add("--as-of is empty: name the field that says as of when");
        }
        let path = self.features.as_ref()?;
        let told = |problem: &str| format!("--features {}: {problem}", path.display());
        let definitions = match std::fs::read_to_string(path) {
            Ok(text) => Definitions::parse(&text),
            Err(error) => Err(vec![error.to_string()]),
        };
        let definitions = definitions.map_err(|found| {
            found.iter().for_each(|problem| problems.add(told(problem)));
        });
        Some(Features {
            question: Question {
                definitions: definitions.ok()?,
                as_of: self.as_of.clone(),
                delay_ms: delay?,
            },
            events_topic: events_topic?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::schema::Schema;

    /// The definitions' own fingerprint is the featurizer's owner of its keys, and does not change by `ttl_s`.
    #[test]
    fn whatever_changes_a_value_changes_the_schema() {
        let schema = |ttl_s: i64| {
            let text = format!(
                "ttl_s = {ttl_s}\n[[feature]]\nname = \"n\"\naggregate = \"count\"\nwindow = \"1h\"\n"
            );
            let features = Features {
                question: Question {
                    definitions: Definitions::parse(&text).unwrap(),
                    as_of: "timestamp".into(),
                    delay_ms: 0,
                },
                events_topic: "user-events".into(),
            };
            let columns = features.columns();
            let definitions = columns.definitions.clone();
            let schema = Schema {
                columns: Vec::new(),
                headers: false,
                features: Some(columns),
            };
            (definitions, schema.fingerprint().unwrap())
        };
        let (one, two) = (schema(7_200), schema(14_400));
        assert_eq!(one.0, two.0);
        assert_ne!(one.1, two.1);
    }
}
