//! The footer of a data file: the records that the file covers, and how they were written.

use crate::dataset::names;
use crate::dataset::offset::Offset;
use crate::encode::columns::Misfits;
use crate::features::Unknown;
use anyhow::{Context, ensure};
use parquet::file::metadata::KeyValue;
use std::fmt;
use std::str::FromStr;
use tidemill_core::exit::Failure;
use tidemill_core::kafka::{StoredPosition, TopicId};

/// Goes before every key, so that other tools' keys are not mistaken for ours.
pub(super) const PREFIX: &str = "tidemill.";

/// The format of this version's files. Files of format 1 had no such key.
pub(super) const FORMAT: &str = "2";

/// The footer's key-values: functions of the records, the schema and the version alone, nothing of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The topic.
    pub topic: String,
    /// The topic's id; `None` where the brokers have none, or an older version wrote the file.
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: i32,
    /// The position before the first record.
    pub first: Offset,
    /// The position after the last: where the next file starts.
    pub next: Offset,
    /// The fingerprint of the last record, which lies before `next`; `None` for a gap, or where an older version wrote
    /// the file.
    pub last: Option<u64>,
    /// Rows in the file.
    pub rows: u64,
    /// Records of [`first`, `next`) that could not become rows.
    pub rejected: u64,
    /// The SHA-256 of the file that holds those, in hexadecimal; `None` where there are none.
    pub rejects: Option<String>,
    /// Values of the rows that fitted no column and are kept in `_extra`, by field.
    pub(crate) misfits: Misfits,
    /// The rows with unknown features.
    pub(crate) unknown: Unknown,
    /// The records of [`first`, `next`) were deleted by retention before they could be read; there are no rows.
    pub gap: bool,
    /// The schema's fingerprint.
    pub schema: String,
    /// The version that wrote the file.
    pub version: String,
}

impl Footer {
    /// The key-values of this footer, always in the same order.
    pub(crate) fn to_key_values(&self) -> Vec<KeyValue> {
        let pair = |key: &str, value: &dyn fmt::Display| {
            KeyValue::new(format!("{PREFIX}{key}"), value.to_string())
        };
        let count = |rows: u64| (rows > 0).then(|| rows.to_string());
        let misfits = (!self.misfits.is_empty()).then(|| self.misfits.to_json());
        let more = [
            ("topic_id", self.topic_id.map(|id| id.to_string())),
            ("last", self.last.map(|last| format!("{last:016x}"))),
            ("rejects", self.rejects.clone()),
            ("misfits", misfits),
            ("unasked", count(self.unknown.unasked)),
            ("uncovered", count(self.unknown.uncovered)),
        ];
        let more = more
            .into_iter()
            .filter_map(|(key, value)| Some(pair(key, &value?)));
        let pairs = [
            pair("format", &FORMAT),
            pair("topic", &self.topic),
            pair("partition", &self.partition),
            pair("first", &self.first),
            pair("next", &self.next),
            pair("rows", &self.rows),
            pair("rejected", &self.rejected),
            pair("gap", &self.gap),
            pair("schema", &self.schema),
            pair("version", &self.version),
        ];
        pairs.into_iter().chain(more).collect()
    }

    /// The position of the partition after this file.
    pub(crate) fn position(&self) -> StoredPosition<u64> {
        StoredPosition {
            topic: self.topic_id,
            next: self.next.into(),
            last: self.last,
        }
    }

    /// The paths of this file's rejects: usually the first, and the second if the first was taken.
    pub(crate) fn reject_paths(&self) -> Option<[String; 2]> {
        let digest = self.rejects.as_ref()?;
        let usual = names::rejected(&self.topic, self.partition, self.first, self.next);
        let beside = names::rejected_beside(&usual, digest);
        Some([usual, beside])
    }

    /// The footer among a file's key-values.
    ///
    /// Errors name the key that is missing or cannot be used; a usage failure where another version wrote the file.
    pub(crate) fn from_key_values(pairs: Option<&Vec<KeyValue>>) -> anyhow::Result<Self> {
        let text = |key: &str| -> anyhow::Result<&str> {
            let mut pairs = pairs.into_iter().flatten();
            let found = pairs.find(|pair| pair.key.strip_prefix(PREFIX) == Some(key));
            let value = found.and_then(|pair| pair.value.as_deref());
            value.with_context(|| format!("the footer has no {PREFIX}{key}"))
        };
        let topic = text("topic")?.to_owned();
        // Asked for before the format: the schema's file names its topic too, and is no data file of any version.
        let first = text("first")?;
        let format = text("format").unwrap_or("1");
        ensure!(format == FORMAT, other_format(format));
        let id = text("topic_id").ok();
        let last = text("last").ok();
        let last = last.map(|digits| {
            let last = u64::from_str_radix(digits, 16).ok();
            last.with_context(|| format!("the footer's {PREFIX}last is {digits:?}"))
        });
        let count = |key| text(key).map_or(Ok(0), |rows| parse(key, rows));
        let misfits = text("misfits").map_or(Some(Misfits::default()), Misfits::from_json);
        let footer = Self {
            topic,
            topic_id: id.map(|id| parse("topic_id", id)).transpose()?,
            last: last.transpose()?,
            partition: parse("partition", text("partition")?)?,
            first: parse("first", first)?,
            next: parse("next", text("next")?)?,
            rows: parse("rows", text("rows")?)?,
            rejected: parse("rejected", text("rejected")?)?,
            rejects: text("rejects").ok().map(str::to_owned),
            misfits: misfits.context("the footer's misfits cannot be read")?,
            unknown: Unknown {
                unasked: count("unasked")?,
                uncovered: count("uncovered")?,
            },
            gap: parse("gap", text("gap")?)?,
            schema: text("schema")?.to_owned(),
            version: text("version")?.to_owned(),
        };
        ensure!(
            footer.first < footer.next,
            "the footer covers no records: first {} and next {}",
            footer.first,
            footer.next
        );
        Ok(footer)
    }
}

fn other_format(format: &str) -> anyhow::Error {
    Failure::usage(format!(
        "was written by another version of the collector (format {format}, not {FORMAT}): pandas, polars, DuckDB and \
         Spark read it as ever; add to it and check it with that version, or collect into another --out"
    ))
}

fn parse<T: FromStr>(key: &str, text: &str) -> anyhow::Result<T> {
    let value = text.parse().ok();
    value.with_context(|| format!("the footer's {PREFIX}{key} is {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_core::exit::Code;

    #[test]
    fn footers_are_read_as_written() {
        let footer = Footer {
            topic: "t".into(),
            topic_id: "AAAAAAAAAAAAAAAAAAAAAQ".parse().ok(),
            last: Some(0xab),
            partition: 7,
            first: 10.into(),
            next: 20.into(),
            rows: 9,
            rejected: 1,
            rejects: Some("cd".into()),
            misfits: Misfits::from_json("{\"a\":2}").unwrap(),
            unknown: Unknown {
                unasked: 3,
                uncovered: 1,
            },
            gap: false,
            schema: "ab".into(),
            version: "0.1.0".into(),
        };
        let mut pairs = footer.to_key_values();
        assert_eq!(Footer::from_key_values(Some(&pairs)).unwrap(), footer);
        pairs[4].value = Some("ten".into());
        let error = Footer::from_key_values(Some(&pairs))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("tidemill.next") && error.contains("ten"),
            "{error}"
        );
        pairs[0].value = None;
        let error = Footer::from_key_values(Some(&pairs)).unwrap_err();
        assert!(error.to_string().contains("format 1, not 2"), "{error}");
        assert_eq!(Failure::code(&error), Code::Usage);
        assert!(
            Footer::from_key_values(None)
                .unwrap_err()
                .to_string()
                .contains("topic")
        );
    }
}
