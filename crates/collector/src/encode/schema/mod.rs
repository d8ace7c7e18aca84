//! The schema of a data set: which columns its files have, in a form that people can read and write.

mod arrow;
mod file;
mod infer;

pub(crate) use arrow::header_fields;
pub(crate) use infer::Sample;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

/// The column of values that fit no other, as the text of one JSON object.
pub(crate) const EXTRA: &str = "_extra";

/// Columns of our own; an event's field of such a name is kept in [`EXTRA`].
pub(crate) const RESERVED: [&str; 6] = [
    "_key",
    "_partition",
    "_offset",
    "_timestamp",
    "_headers",
    EXTRA,
];

/// Names that are folded alike are one name to DuckDB and Spark: to them `_Offset` is `_offset`.
fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// A field of this name is not to be a column.
fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&folded(name).as_str())
}

/// Objects within objects become columns down to this depth; what lies deeper is kept as JSON text.
pub(crate) const MAX_DEPTH: usize = 8;

/// The columns of a data set. Every file of it has the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Schema {
    /// The event's fields, in the order of the columns.
    pub(crate) columns: Vec<Column>,
    /// There is a column `_headers`.
    #[serde(default)]
    pub(crate) headers: bool,
    /// Point-in-time features, which stand behind the event's fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) features: Option<FeatureColumns>,
}

/// The columns of point-in-time features, and what their values follow from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeatureColumns {
    /// Their names, which are those of the features.
    pub(crate) names: Vec<String>,
    /// The fingerprint of the definitions.
    pub(crate) definitions: String,
    /// Lifetime of a user without events, in milliseconds: after that values without a window are gone.
    pub(crate) ttl_ms: i64,
    /// The topic of the users' events.
    pub(crate) events_topic: String,
    /// The field that says as of when.
    pub(crate) as_of: String,
    /// They are evaluated this much earlier, in milliseconds.
    pub(crate) delay_ms: i64,
}

/// One field of the event, or of an object in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Column {
    /// The field's name.
    pub(crate) name: String,
    /// The kind of its values.
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
}

/// The values that a column takes. Every column takes null, which is the same as an absent field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// true and false.
    Bool,
    /// Whole numbers of 64 bits.
    Int64,
    /// Numbers; of whole ones those that a double holds exactly, up to 2^53.
    Double,
    /// RFC 3339 texts, as microseconds of UTC.
    Timestamp,
    /// Texts.
    String,
    /// Whole numbers of any size, as their decimal text.
    Integer,
    /// Anything, as JSON text.
    Json,
    /// Arrays whose elements are all of one kind.
    List(Box<Kind>),
    /// Objects with these fields.
    Struct(Vec<Column>),
}

impl Schema {
    /// Reads a schema as [`Schema::to_json`] writes it.
    ///
    /// Errors name the column that cannot be used and why.
    pub(crate) fn from_json(text: &[u8]) -> anyhow::Result<Self> {
        let schema: Self = serde_json::from_slice(text).context("not a schema")?;
        let features = schema.feature_names().iter().map(String::as_str);
        check(&schema.columns, features, 0)?;
        for column in &schema.columns {
            ensure!(
                !is_reserved(&column.name),
                "{} is the name of one of tidemill's own columns: leave it out",
                column.name
            );
        }
        Ok(schema)
    }

    /// A field of this name can have a column, in this schema or in a wider one.
    pub(crate) fn can_take(&self, field: &str) -> bool {
        let name = folded(field);
        let twin = |column: &Column| column.name != field && folded(&column.name) == name;
        !is_reserved(field) && !self.is_feature(field) && !self.columns.iter().any(twin)
    }

    /// A point-in-time feature has this name.
    pub(crate) fn is_feature(&self, field: &str) -> bool {
        let name = folded(field);
        self.feature_names().contains(&name)
    }

    /// Refuses names that differ in case alone: in a file DuckDB and Spark would read one column for both.
    pub(crate) fn refuse_twins(&self) -> anyhow::Result<()> {
        refuse_twins(&self.columns)
    }

    /// The names of the point-in-time features.
    pub(crate) fn feature_names(&self) -> &[String] {
        let features = self.features.as_ref();
        features.map_or(&[], |features| features.names.as_slice())
    }

    /// The columns that hold JSON text, as `column`, `column.field` or `column[]`: nothing else tells them from texts.
    pub(crate) fn json_places(&self) -> Vec<String> {
        let mut found = Vec::new();
        for column in &self.columns {
            column.kind.json_places(&column.name, &mut found);
        }
        found.push(EXTRA.to_owned());
        found
    }

    /// The schema as a file for people: one column a line is what its diffs should show.
    pub(crate) fn to_json(&self) -> anyhow::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// The identity of the schema: the SHA-256 of its compact JSON, in hexadecimal.
    pub(crate) fn fingerprint(&self) -> anyhow::Result<String> {
        let digest = Sha256::digest(serde_json::to_vec(self)?);
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Kind {
    /// Takes all numbers where only whole ones of 64 bits were taken.
    fn widen(&mut self) {
        match self {
            Self::Int64 => *self = Self::Double,
            Self::List(item) => item.widen(),
            Self::Struct(columns) => columns.iter_mut().for_each(|column| column.kind.widen()),
            _ => {}
        }
    }

    /// The places below `name` that hold JSON text.
    fn json_places(&self, name: &str, found: &mut Vec<String>) {
        match self {
            Self::Json => found.push(name.to_owned()),
            Self::List(item) => item.json_places(&format!("{name}[]"), found),
            Self::Struct(columns) => columns.iter().for_each(|column| {
                column
                    .kind
                    .json_places(&format!("{name}.{}", column.name), found)
            }),
            _ => {}
        }
    }

    /// The number of cells that a value takes, without the elements of lists.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Struct(columns) => columns.iter().map(|column| column.kind.width()).sum(),
            _ => 1,
        }
    }
}

fn refuse_twins(columns: &[Column]) -> anyhow::Result<()> {
    let mut taken = HashMap::new();
    for Column { name, kind } in columns {
        if let Some(twin) = taken.insert(folded(name), name) {
            bail!(
                "columns {twin:?} and {name:?} differ in case alone, so that DuckDB and Spark read one for both: leave one out"
            );
        }
        let mut kind = kind;
        while let Kind::List(item) = kind {
            kind = item;
        }
        if let Kind::Struct(fields) = kind {
            refuse_twins(fields).with_context(|| format!("in column {name:?}"))?;
        }
    }
    Ok(())
}

fn check<'a>(
    columns: &'a [Column],
    taken: impl Iterator<Item = &'a str>,
    depth: usize,
) -> anyhow::Result<()> {
    let mut names: HashSet<&str> = taken.collect();
    for Column { name, kind } in columns {
        ensure!(names.insert(name), "column {name:?} stands there twice");
        let mut kind = kind;
        let mut depth = depth;
        while let Kind::List(item) = kind {
            kind = item;
            depth += 1;
        }
        match kind {
            Kind::Struct(fields) if fields.is_empty() => {
                bail!("column {name:?} is a struct without fields: use json")
            }
            Kind::Struct(_) if depth >= MAX_DEPTH => {
                bail!("column {name:?} is nested deeper than {MAX_DEPTH}: use json")
            }
            Kind::Struct(fields) => check(fields, std::iter::empty(), depth + 1)
                .with_context(|| format!("in column {name:?}"))?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"columns":[
        {"name":"amount","type":"double"},
        {"name":"tags","type":{"list":"string"}},
        {"name":"geo","type":{"struct":[{"name":"lat","type":"double"}]}}]}"#;

    #[test]
    fn schemas_are_read_as_written_and_told_apart() {
        let schema = Schema::from_json(TEXT.as_bytes()).unwrap();
        let again = Schema::from_json(&schema.to_json().unwrap()).unwrap();
        assert_eq!(again, schema);
        assert_eq!(again.fingerprint().unwrap(), schema.fingerprint().unwrap());
        assert_eq!(schema.columns[1].kind, Kind::List(Box::new(Kind::String)));
        let mut other = schema.clone();
        other.columns[0].kind = Kind::Int64;
        assert_ne!(other.fingerprint().unwrap(), schema.fingerprint().unwrap());
    }

    #[test]
    fn columns_of_json_text_are_told_from_texts() {
        let text = r#"{"columns":[{"name":"a","type":"json"},{"name":"b","type":"string"},
            {"name":"c","type":{"list":{"struct":[{"name":"d","type":"json"}]}}}]}"#;
        let schema = Schema::from_json(text.as_bytes()).unwrap();
        assert_eq!(schema.json_places(), ["a", "c[].d", "_extra"]);
    }

    #[test]
    fn a_field_that_no_schema_can_take_is_told_from_others() {
        let mut schema = Schema::from_json(br#"{"columns":[{"name":"A","type":"bool"}]}"#).unwrap();
        schema.features = Some(FeatureColumns {
            names: vec!["spent".into()],
            definitions: String::new(),
            ttl_ms: 0,
            events_topic: String::new(),
            as_of: String::new(),
            delay_ms: 0,
        });
        for (field, expected) in [
            ("A", true),
            ("b", true),
            ("a", false),
            ("_key", false),
            ("_Offset", false),
            ("spent", false),
            ("Spent", false),
        ] {
            assert_eq!(schema.can_take(field), expected, "{field}");
        }
    }

    #[test]
    fn names_that_differ_in_case_alone_are_refused_at_every_depth() {
        for (columns, twins) in [
            (
                r#"{"name":"a","type":"bool"},{"name":"A","type":"bool"}"#,
                true,
            ),
            (
                r#"{"name":"l","type":{"list":{"struct":[{"name":"é","type":"bool"},{"name":"É","type":"bool"}]}}}"#,
                true,
            ),
            (
                r#"{"name":"a","type":"bool"},{"name":"o","type":{"struct":[{"name":"A","type":"bool"}]}}"#,
                false,
            ),
        ] {
            let text = format!("{{\"columns\":[{columns}]}}");
            let schema = Schema::from_json(text.as_bytes()).unwrap();
            let refused = schema.refuse_twins();
            assert_eq!(refused.is_err(), twins, "{columns}: {refused:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_schema_is_named() {
        for (text, part) in [
            ("[]", "schema"),
            (r#"{"columns":[{"name":"a","type":"int32"}]}"#, "int32"),
            (r#"{"columns":[{"name":"_key","type":"string"}]}"#, "_key"),
            (
                r#"{"columns":[{"name":"_Offset","type":"string"}]}"#,
                "_Offset",
            ),
            (
                r#"{"columns":[{"name":"a","type":"bool"},{"name":"a","type":"bool"}]}"#,
                "twice",
            ),
            (
                r#"{"columns":[{"name":"a","type":{"list":{"struct":[]}}}]}"#,
                "without fields",
            ),
        ] {
            let error = format!("{:#}", Schema::from_json(text.as_bytes()).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
