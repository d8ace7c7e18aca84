//! Shows a data set: partitions, stretches, rows, sizes and columns.

use crate::dataset::catalog::Catalog;
use crate::dataset::names;
use crate::dataset::reader;
use crate::dataset::store::{Location, Store};
use crate::encode::schema::Schema;
use std::fmt::Write as _;

/// What there is to see of a data set, as text for people. Only footers are read.
///
/// Errors: it cannot be listed, or a footer cannot be read; `verify` tells what else is wrong.
pub async fn inspect(location: &Location) -> anyhow::Result<String> {
    let store = Store::open(location, false)?;
    let catalog = Catalog::list(&store).await?;
    let mut text = String::new();
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
        }
        let (first, count, megabytes) = (first.unwrap_or(0), files.len(), bytes as f64 / 1e6);
        writeln!(
            text,
            "{topic:<32} {partition:>5} {first:>12} {next:>12} {count:>8} {rows:>12} {rejected:>9} {gap:>11} {megabytes:>10.2}"
        )?;
    }
    match store.find(names::SCHEMA).await? {
        Some(schema) => {
            let schema = Schema::from_file(schema)?;
            writeln!(text, "\nschema {}", schema.fingerprint()?)?;
            for field in schema.to_arrow().fields() {
                writeln!(text, "  {:<30} {}", field.name(), field.data_type())?;
            }
        }
        None => writeln!(text, "\nno schema yet")?,
    }
    Ok(text)
}
