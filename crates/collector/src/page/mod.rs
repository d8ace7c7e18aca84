//! The collector's section of the live page: files by partition, what fitted no column, the schema, the last files.

mod journal;

use serde_json::json;
use std::sync::Arc;
use tidemill_core::status::Section;

pub(crate) use journal::Journal;

/// The section of a collector that notes its files in `journal` and writes them to `out`.
pub(crate) fn section(journal: Arc<Journal>, out: String) -> Section {
    Section {
        script: include_str!("section.js"),
        figures: Box::new(move || json!({"out": out, "journal": &*journal})),
        pages: None,
        latency: None,
        stages: &["encode", "publish"],
    }
}
