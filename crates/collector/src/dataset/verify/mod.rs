//! Checks a data set: every record of its stretch once, footers true, nothing else in between.

use crate::dataset::catalog::Catalog;
use crate::dataset::footer::Footer;
use crate::dataset::store::{Listed, Location, Store};
use crate::dataset::{names, reader, rejects, seal};
use crate::encode::schema::Schema;
use anyhow::Context;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a data set holds, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Report {
    /// Data files that were read.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Records that could not become rows.
    pub rejected: u64,
    /// Offsets that retention had deleted before they could be read, as the data set says itself.
    pub gaps: u64,
    /// What is wrong, each naming its file.
    pub faults: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            writeln!(f, "{fault}")?;
        }
        let Self {
            files,
            rows,
            rejected,
            gaps,
            faults,
        } = self;
        let verdict = if faults.is_empty() {
            "whole"
        } else {
            "DAMAGED"
        };
        write!(
            f,
            "{verdict}: {files} files, {rows} rows, {rejected} rejected, {gaps} offsets lost to retention"
        )
    }
}

/// Reads every file of a data set and says what is wrong.
///
/// Errors: it cannot be listed at all.
pub async fn verify(location: &Location) -> anyhow::Result<Report> {
    let store = Store::open(location, false)?;
    let catalog = Catalog::list(&store).await?;
    let mut report = Report::default();
    let strangers = catalog
        .strangers
        .iter()
        .map(|file| format!("{}: not a name of this data set", file.name));
    report.faults.extend(strangers);
    let fingerprint = match schema(&store).await {
        Ok(fingerprint) => fingerprint,
        Err(error) => {
            report.faults.push(format!("{}: {error:#}", names::SCHEMA));
            None
        }
    };
    for ((topic, partition), files) in &catalog.chains {
        let none = BTreeMap::new();
        let own = (topic.clone(), *partition);
        let rejects = catalog.rejects.get(&own).unwrap_or(&none);
        let mut expected: Option<i64> = None;
        let mut counted = BTreeSet::new();
        for file in files {
            let check = Check {
                store: &store,
                fingerprint: fingerprint.as_deref(),
                file,
                rejects,
            };
            let footer = match check.file(&mut report).await {
                Ok(footer) => footer,
                Err(error) => {
                    report.faults.push(format!("{}: {error:#}", file.name));
                    // Where an unreadable file ends is not known: the next one is taken to follow it.
                    expected = None;
                    continue;
                }
            };
            counted.extend(check.path_of_rejects(&footer));
            match expected {
                Some(end) if end < footer.first => report.faults.push(format!(
                    "{}: gap, offsets {end} to {} of {topic} {partition} are in no file",
                    file.name, footer.first
                )),
                Some(end) if end > footer.first => report.faults.push(format!(
                    "{}: overlap, offsets {} to {} of {topic} {partition} are in the file before it too",
                    file.name,
                    footer.first,
                    end.min(footer.next)
                )),
                _ => {}
            }
            expected = Some(expected.unwrap_or(0).max(footer.next));
        }
        for (path, first) in rejects {
            let beyond = expected.is_some_and(|end| *first >= end);
            if !counted.contains(path) && !beyond {
                report
                    .faults
                    .push(format!("{path}: belongs to no data file"));
            }
        }
    }
    Ok(report)
}

async fn schema(store: &Store) -> anyhow::Result<Option<String>> {
    match store.find(names::SCHEMA).await? {
        Some(file) => {
            let fingerprint = Schema::from_file(file.clone())?.fingerprint()?;
            seal::check(&file)?;
            Ok(Some(fingerprint))
        }
        None => Ok(None),
    }
}

struct Check<'a> {
    store: &'a Store,
    fingerprint: Option<&'a str>,
    file: &'a Listed,
    /// The reject files of its partition.
    rejects: &'a BTreeMap<String, i64>,
}

impl Check<'_> {
    /// Reads one data file and its rejects. What is wrong beyond the file being unreadable goes into the report.
    async fn file(&self, report: &mut Report) -> anyhow::Result<Footer> {
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
            report.gaps += (next - first) as u64;
        }
        Ok(footer)
    }

    /// Where the rejects of a data file should be.
    fn path_of_rejects(&self, footer: &Footer) -> Option<String> {
        let [usual, beside] = footer.reject_paths()?;
        let taken = self.rejects.contains_key(&beside);
        Some(if taken { beside } else { usual })
    }

    /// The digest of a reject file, and the offsets in it.
    async fn rejected(&self, path: &str) -> anyhow::Result<(String, Vec<i64>)> {
        let file = self.store.read(path).await?;
        let lines = rejects::read(&file).with_context(|| path.to_owned())?;
        let offsets = lines.into_iter().map(|line| line.offset).collect();
        Ok((seal::hex(&file), offsets))
    }
}

/// The offsets of all rows, which must be of this partition.
fn offsets(batches: &[RecordBatch], partition: i32) -> anyhow::Result<Vec<i64>> {
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
        offsets.extend(own.values());
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests;
