//! The scorer's part of its live page.

use tidemill_core::status::Section;

/// The section.
pub fn section() -> Section {
    Section {
        script: include_str!("section.js"),
        figures: Box::new(|| serde_json::Value::Null),
        pages: None,
        latency: Some("tidemill_latency_seconds"),
        stages: &["features", "score", "publish"],
    }
}
