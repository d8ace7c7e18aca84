//! Checks one data file: its footer against its rows, its name and its rejects.

use super::Report;
use crate::dataset::footer::Footer;
use crate::dataset::offset::Offset;
use crate::dataset::store::{Listed, Store};
use crate::dataset::{names, reader, rejects, seal};
use anyhow::Context;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use std::collections::BTreeMap;

/// A data file to be checked.
pub(super) struct Check<'a> {
    pub(super) store: &'a Store,
    /// The fingerprint of the data set's schema, where that can be read.
    pub(super) fingerprint: Option<&'a str>,
    pub(super) file: &'a Listed,
    /// The reject files of its partition.
    pub(super) rejects: &'a BTreeMap<String, Offset>,
}

impl Check<'_> {
    /// Reads one data file and its rejects. Faults other than an unreadable file go into the report.
    pub(super) async fn read(&self, report: &mut Report) -> anyhow::Result<Footer> {
        let name = &self.file.name;
        let bytes = self.store.read(name).await?;
        let (footer, batches) = tokio::task::spawn_blocking(move || reader::rows(bytes)).await??;
        let Footer {
            topic,
            partition,
            first,
            next,
            rejected,
            ..
        } = &footer;
        let mut fault = |what: String| report.faults.push(format!("{name}: {what}"));
        let named = names::data(topic, *partition, *first);
        if named != *name {
            fault(format!("its footer is that of {named}"));
        }
        if self.fingerprint.is_some_and(|own| own != footer.schema) {
            fault("it has another schema than the data set".into());
        }
        let mut offsets = match offsets(&batches, *partition) {
            Ok(offsets) => offsets,
            Err(error) => {
                fault(format!("{error:#}"));
                Vec::new()
            }
        };
        if footer.rows > 0 && offsets.windows(2).any(|pair| pair[0] >= pair[1]) {
            fault("its offsets do not ascend".into());
        }
        if let Some(path) = self.path_of_rejects(&footer) {
            match self.rejected(&path).await {
                Ok((digest, lines)) => {
                    if footer.rejects.as_ref() != Some(&digest) {
                        fault(format!(
                            "{path} has other bytes than those the footer tells of"
                        ));
                    }
                    if lines.len() as u64 != *rejected {
                        fault(format!(
                            "{path} has {} records, the footer tells of {rejected}",
                            lines.len()
                        ));
                    }
                    offsets.extend(lines);
                    offsets.sort_unstable();
                    if offsets.windows(2).any(|pair| pair[0] == pair[1]) {
                        fault(format!(
                            "{path} has an offset twice, or one that is among the rows"
                        ));
                    }
                }
                Err(error) => fault(format!("its rejects: {error:#}")),
            }
        }
        if offsets
            .iter()
            .any(|offset| !(*first..*next).contains(offset))
        {
            fault(format!("it holds offsets outside of {first} to {next}"));
        }
        report.files += 1;
        report.rows += footer.rows;
        report.rejected += rejected;
        if footer.gap {
            report.gaps += next.since(*first);
        }
        Ok(footer)
    }

    /// The path at which the rejects of a data file should be.
    pub(super) fn path_of_rejects(&self, footer: &Footer) -> Option<String> {
        let [usual, beside] = footer.reject_paths()?;
        let taken = self.rejects.contains_key(&beside);
        Some(if taken { beside } else { usual })
    }

    /// The digest of a reject file, and the offsets in it.
    async fn rejected(&self, path: &str) -> anyhow::Result<(String, Vec<Offset>)> {
        let file = self.store.read(path).await?;
        let lines = rejects::read(&file).with_context(|| path.to_owned())?;
        let offsets = lines.into_iter().map(|line| line.offset).collect();
        Ok((seal::hex(&file), offsets))
    }
}

/// The offsets of all rows, which must be of this partition.
fn offsets(batches: &[RecordBatch], partition: i32) -> anyhow::Result<Vec<Offset>> {
    let mut offsets = Vec::new();
    for batch in batches {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .with_context(|| format!("it has no column {name}"))
        };
        let own = column("_offset")?
            .as_primitive_opt::<Int64Type>()
            .context("_offset is no int64")?;
        let of = column("_partition")?
            .as_primitive_opt::<Int32Type>()
            .context("_partition is no int32")?;
        anyhow::ensure!(own.null_count() == 0, "it has rows without an offset");
        anyhow::ensure!(
            of.iter().all(|of| of == Some(partition)),
            "it has rows of another partition"
        );
        offsets.extend(own.values().iter().copied().map(Offset::from));
    }
    Ok(offsets)
}
