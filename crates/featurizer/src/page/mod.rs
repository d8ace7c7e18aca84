//! The featurizer's part of its live page.

use tidemill_core::status::Section;

/// The section.
pub(crate) fn section() -> Section {
    Section {
        script: include_str!("section.js"),
        figures: Box::new(|| serde_json::Value::Null),
        pages: None,
        latency: Some("tidemill_freshness_seconds"),
        stages: &["load", "apply", "write"],
    }
}
