//! Names of topics, groups and keys that belong to one test or demo alone.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::simulate::{Topics, now_ms};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// What the three binaries are told to read and write.
#[derive(Clone, Debug)]
pub struct Names {
    /// What every name ends with, or begins with in keys; empty for the plain names.
    pub suffix: String,
    /// Actions of customers.
    pub user_events: String,
    /// Payments.
    pub transactions: String,
    /// Scores of payments.
    pub predictions: String,
    /// Payments whose truth is known.
    pub labeled_events: String,
    /// The featurizer's consumer group.
    pub featurizer_group: String,
    /// The scorer's.
    pub scorer_group: String,
    /// The collector's.
    pub collector_group: String,
    /// What the names of all Redis keys begin with.
    pub key_prefix: String,
}

impl Names {
    /// The documented defaults.
    pub fn plain() -> Names {
        Names::with_suffix(String::new(), String::new())
    }

    /// Names nobody else has; `purpose` makes them recognisable.
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

    /// The input topics, as the simulator wants them.
    pub fn topics(&self) -> Topics {
        Topics {
            user_events: self.user_events.clone(),
            transactions: self.transactions.clone(),
            labeled_events: self.labeled_events.clone(),
        }
    }
}
