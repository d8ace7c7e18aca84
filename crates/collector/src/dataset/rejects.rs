//! Reject files: the records that could not become rows as lines of JSON, each with its place and the reason.

use crate::dataset::offset::Offset;
use crate::pipeline::batch::Raw;
use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tidemill_core::record::Reject;

/// One line of a reject file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The record's offset.
    pub offset: Offset,
    /// Its Kafka timestamp in milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// Its key in base64; null is null.
    pub key: Option<String>,
    /// Its value in base64; null is null.
    pub value: Option<String>,
    /// The reason's code.
    pub reason: String,
    /// The exact error.
    pub error: String,
}

/// Appends a record's line to the text of a reject file.
pub(crate) fn write(file: &mut Vec<u8>, record: &Raw<'_>, reject: &Reject) -> anyhow::Result<()> {
    let line = Line {
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.map(|key| STANDARD.encode(key)),
        value: record.value.map(|value| STANDARD.encode(value)),
        reason: reject.reason.code().to_owned(),
        error: reject.error.clone(),
    };
    serde_json::to_writer(&mut *file, &line)?;
    file.push(b'\n');
    Ok(())
}

/// The lines of a reject file.
pub fn read(file: &[u8]) -> anyhow::Result<Vec<Line>> {
    let lines = file
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let parsed = lines.zip(1..).map(|(line, number)| {
        let text = String::from_utf8_lossy(line);
        serde_json::from_str(&text).with_context(|| format!("line {number}"))
    });
    parsed.collect()
}
