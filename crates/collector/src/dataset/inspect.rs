//! Shows a data set: partitions, stretches, rows, sizes and columns.

use crate::dataset::catalog::Catalog;
use crate::dataset::damage::damaged;
use crate::dataset::names;
use crate::dataset::reader;
use crate::dataset::store::{Location, Store};
use crate::encode::columns::Misfits;
use crate::encode::schema::Schema;
use crate::features::Unknown;
use std::fmt::Write as _;

/// A view of a data set, as text for people. Reads footers only.
///
/// Errors: it cannot be listed, or a footer or the schema cannot be read; `verify` tells what else is wrong.
pub async fn inspect(location: &Location) -> anyhow::Result<String> {
    let store = Store::open(location, false)?;
    let catalog = Catalog::list(&store).await?;
    let mut text = String::new();
    let (mut misfits, mut unknown) = (Misfits::default(), Unknown::default());
    writeln!(
        text,
        "{:<32} {:>5} {:>12} {:>12} {:>8} {:>12} {:>9} {:>11} {:>10}",
        "topic", "part", "first", "next", "files", "rows", "rejected", "gap", "MB"
    )?;
    for ((topic, partition), files) in &catalog.chains {
        let (mut rows, mut rejected, mut gap, mut bytes) = (0, 0, 0, 0);
        let (mut first, mut next) = (None, 0);
        for file in files {
            let footer = reader::read_footer(&store, &file.name).await?;
            first = first.or(Some(footer.first));
            next = footer.next;
            rows += footer.rows;
            rejected += footer.rejected;
            gap += if footer.gap {
                footer.next - footer.first
            } else {
                0
            };
            bytes += file.size;
            misfits.extend(&footer.misfits);
            unknown = unknown.and(footer.unknown);
        }
        let (first, count, megabytes) = (first.unwrap_or(0), files.len(), bytes as f64 / 1e6);
        writeln!(
            text,
            "{topic:<32} {partition:>5} {first:>12} {next:>12} {count:>8} {rows:>12} {rejected:>9} {gap:>11} {megabytes:>10.2}"
        )?;
    }
    match store.find(names::SCHEMA).await? {
        Some(schema) => {
            let read = Schema::of_data_set(&schema);
            let (schema, _) = read.map_err(|cause| damaged(&store, names::SCHEMA, cause))?;
            writeln!(text, "\nschema {}", schema.fingerprint()?)?;
            let json = schema.json_places();
            for field in schema.to_arrow().fields() {
                let name = field.name();
                let inner = |place: &&String| {
                    let rest = place.strip_prefix(name.as_str());
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                };
                let json: Vec<&str> = json.iter().filter(inner).map(String::as_str).collect();
                let json = match json[..] {
                    [] => String::new(),
                    [own] if own == name => "  (JSON text)".to_owned(),
                    _ => format!("  (JSON text: {})", json.join(", ")),
                };
                writeln!(text, "  {name:<30} {}{json}", field.data_type())?;
            }
        }
        None => writeln!(text, "\nno schema yet")?,
    }
    if !misfits.is_empty() {
        writeln!(text, "\nvalues that fit no column, in _extra")?;
        for (field, count) in misfits.iter() {
            writeln!(text, "  {field:<30} {count:>12}")?;
        }
    }
    if unknown.total() > 0 {
        writeln!(text, "\nrows with null features, since they are not known")?;
        let Unknown { unasked, uncovered } = unknown;
        writeln!(
            text,
            "  no user_id, or no time in the field of --as-of {unasked:>12}"
        )?;
        writeln!(
            text,
            "  events deleted, or written after --to          {uncovered:>12}"
        )?;
    }
    Ok(text)
}
