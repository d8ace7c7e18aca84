//! Shows a data set: partitions, stretches, rows, sizes and columns.

use crate::dataset::catalog::Catalog;
use crate::dataset::damage::damaged;
use crate::dataset::names;
use crate::dataset::offset::Offset;
use crate::dataset::reader;
use crate::dataset::store::{Listed, Location, Store};
use crate::encode::columns::Misfits;
use crate::encode::schema::Schema;
use crate::features::Unknown;
use serde::Serialize;
use std::fmt;
use tidemill_core::printing::columns;

/// The contents of a data set, by its footers and its schema.
#[derive(Debug, Default, Serialize)]
pub struct View {
    place: String,
    partitions: Vec<Partition>,
    schema: Option<Columns>,
    /// Values that fit no column, by field.
    misfits: Misfits,
    /// Rows with null features, since they are not known.
    unknown_features: Unknown,
}

/// The files of a partition.
#[derive(Debug, Default, Serialize)]
struct Partition {
    topic: String,
    partition: i32,
    /// The first offset of its first file.
    first: Offset,
    /// The offset after its last file.
    next: Offset,
    files: usize,
    rows: u64,
    rejected: u64,
    /// Offsets that retention had deleted before they could be read.
    lost_offsets: u64,
    bytes: u64,
}

/// The columns of every file.
#[derive(Debug, Serialize)]
struct Columns {
    fingerprint: String,
    columns: Vec<Column>,
}

/// A column.
#[derive(Debug, Serialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    /// Itself, or the places below it, where a value is kept as JSON text.
    json_text: Vec<String>,
}

/// A view of a data set. Reads footers only.
///
/// Errors: it cannot be listed, or a footer or the schema cannot be read; `verify` tells what else is wrong.
pub async fn inspect(location: &Location) -> anyhow::Result<View> {
    let store = Store::open(location, false)?;
    let catalog = Catalog::list(&store).await?;
    let mut view = View {
        place: store.to_string(),
        ..View::default()
    };
    for ((topic, partition), files) in &catalog.chains {
        let mut own = Partition {
            topic: topic.clone(),
            partition: *partition,
            ..Partition::default()
        };
        for file in files {
            view.add(&store, file, &mut own).await?;
        }
        view.partitions.push(own);
    }
    if let Some(schema) = store.find(names::SCHEMA).await? {
        let read = Schema::of_data_set(&schema);
        let (schema, _) = read.map_err(|cause| damaged(&store, names::SCHEMA, cause))?;
        view.schema = Some(Columns::of(&schema)?);
    }
    Ok(view)
}

impl View {
    /// True if there is nothing of a data set.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.schema.is_none()
    }

    /// Adds the next file of a partition.
    async fn add(
        &mut self,
        store: &Store,
        file: &Listed,
        own: &mut Partition,
    ) -> anyhow::Result<()> {
        let footer = reader::read_footer(store, &file.name).await?;
        if own.files == 0 {
            own.first = footer.first;
        }
        own.files += 1;
        own.next = footer.next;
        own.rows += footer.rows;
        own.rejected += footer.rejected;
        if footer.gap {
            own.lost_offsets += footer.next.since(footer.first);
        }
        own.bytes += file.size;
        self.misfits.extend(&footer.misfits);
        self.unknown_features = self.unknown_features.and(footer.unknown);
        Ok(())
    }
}

impl Columns {
    fn of(schema: &Schema) -> anyhow::Result<Self> {
        let places = schema.json_places();
        let arrow = schema.to_arrow();
        let column = |name: &str, kind: String| {
            let below = |place: &&String| {
                let rest = place.strip_prefix(name);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            Column {
                name: name.to_owned(),
                kind,
                json_text: places.iter().filter(below).cloned().collect(),
            }
        };
        let fields = arrow.fields().iter();
        Ok(Self {
            fingerprint: schema.fingerprint()?,
            columns: fields
                .map(|field| column(field.name(), field.data_type().to_string()))
                .collect(),
        })
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            let place = &self.place;
            return writeln!(f, "{place}: there is no data set here: no schema, no file");
        }
        for own in self
            .partitions
            .chunk_by(|one, next| one.topic == next.topic)
        {
            writeln!(f, "topic {}", own[0].topic)?;
            let heads = [
                "partition",
                "first",
                "next",
                "files",
                "rows",
                "rejected",
                "lost",
                "MB",
            ];
            let cells = |own: &Partition| {
                [
                    own.partition.to_string(),
                    own.first.to_string(),
                    own.next.to_string(),
                    own.files.to_string(),
                    own.rows.to_string(),
                    own.rejected.to_string(),
                    own.lost_offsets.to_string(),
                    format!("{:.2}", own.bytes as f64 / 1e6),
                ]
            };
            let mut rows = vec![heads.map(String::from)];
            rows.extend(own.iter().map(cells));
            writeln!(f, "{}", columns(&rows, 0))?;
        }
        match &self.schema {
            Some(schema) => write!(f, "{schema}")?,
            None => writeln!(f, "no schema yet")?,
        }
        let count = |(what, count): (&str, u64)| [format!("  {what}"), count.to_string()];
        if !self.misfits.is_empty() {
            writeln!(f, "\nvalues that fit no column, in _extra")?;
            let rows: Vec<[String; 2]> = self.misfits.iter().map(count).collect();
            f.write_str(&columns(&rows, 1))?;
        }
        if self.unknown_features.total() > 0 {
            writeln!(f, "\nrows with null features, since they are not known")?;
            let Unknown { unasked, uncovered } = self.unknown_features;
            let rows = [
                ("no user_id, or no time in the field of --as-of", unasked),
                ("events deleted, or written after --to", uncovered),
            ];
            f.write_str(&columns(&rows.map(count), 1))?;
        }
        Ok(())
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "schema {}", self.fingerprint)?;
        let cells = |column: &Column| {
            let Column {
                name,
                kind,
                json_text,
            } = column;
            let json = match &json_text[..] {
                [] => String::new(),
                [own] if own == name => "  (JSON text)".to_owned(),
                places => format!("  (JSON text: {})", places.join(", ")),
            };
            [format!("  {name}"), format!("{kind}{json}")]
        };
        let rows: Vec<[String; 2]> = self.columns.iter().map(cells).collect();
        f.write_str(&columns(&rows, 2))
    }
}
