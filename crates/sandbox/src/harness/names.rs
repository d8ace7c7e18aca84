//! Names of topics, groups and keys that belong to one test or demo alone.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::simulate::{Topics, now_ms};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The names that the three binaries use.
#[derive(Clone, Debug)]
pub struct Names {
    /// End of every name, and beginning of every key; empty for the plain names.
    pub suffix: String,
    /// Topic with actions of customers.
    pub user_events: String,
    /// Topic with payments.
    pub transactions: String,
    /// Topic with scores of payments.
    pub predictions: String,
    /// Topic with payments whose truth is known.
    pub labeled_events: String,
    /// The featurizer's consumer group.
    pub featurizer_group: String,
    /// The scorer's consumer group.
    pub scorer_group: String,
    /// The collector's consumer group.
    pub collector_group: String,
    /// Prefix of all Redis keys.
    pub key_prefix: String,
}

impl Names {
    /// The documented defaults.
    pub fn plain() -> Names {
        Names::with_suffix(String::new(), String::new())
    }

    /// Unique names; `purpose` makes them recognisable.
    pub fn unique(purpose: &str) -> Names {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{purpose}-{:x}-{}-{number}", now_ms(), std::process::id());
        Names::with_suffix(format!("-{id}"), format!("{id}:"))
    }

    fn with_suffix(suffix: String, key_prefix: String) -> Names {
        let name = |plain: &str| format!("{plain}{suffix}");
        Names {
            user_events: name("user-events"),
            transactions: name("transactions"),
            predictions: name("fraud-predictions"),
            labeled_events: name("labeled-events"),
            featurizer_group: name("feature-compute"),
            scorer_group: name("fraud-detection"),
            collector_group: name("training-data-collector"),
            key_prefix,
            suffix,
        }
    }

    /// The dead-letter topic of an input topic.
    pub fn dead_letters(topic: &str) -> String {
        format!("{topic}.dead-letter")
    }

    /// The key of a user's features.
    pub fn features_key(&self, user: &str) -> String {
        format!("{}features:{user}", self.key_prefix)
    }

    /// The input topics, for the simulator.
    pub fn topics(&self) -> Topics {
        Topics {
            user_events: self.user_events.clone(),
            transactions: self.transactions.clone(),
            labeled_events: self.labeled_events.clone(),
        }
    }
}
