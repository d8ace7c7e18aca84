//! The collector's part of its live page.

use tidemill_core::status::Section;

/// The section.
pub(crate) fn section() -> Section {
    Section {
        script: include_str!("section.js"),
        figures: Box::new(|| serde_json::Value::Null),
        pages: None,
        latency: None,
        stages: &["encode", "publish"],
    }
}
