//! Checks a data set: every record of its stretch once, footers true, nothing missing at either end or in between.

mod file;
mod group;
mod partition;
mod whole;

use crate::dataset::catalog::{Catalog, Source};
use crate::dataset::offset::Offset;
use crate::dataset::store::{Location, Store};
use indicatif::ProgressBar;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use tidemill_core::progress::bar;
use tidemill_core::settings::Shared;

/// The contents of a data set, and its faults.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Data files that were read.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Records that could not become rows.
    pub rejected: u64,
    /// Offsets that retention had deleted before they could be read, as the data set says itself.
    #[serde(rename = "lost_offsets")]
    pub gaps: u64,
    /// The faults, each naming its file.
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

/// Reads every file of a data set and says what is wrong. Given brokers and group, it also holds the newest files
/// against where the group has got to.
///
/// Errors: there is no such folder, it cannot be listed at all, or the brokers do not answer.
pub async fn verify(location: &Location, group: Option<&Shared>) -> anyhow::Result<Report> {
    let store = Store::open(location, false)?;
    let catalog = Catalog::list(&store).await?;
    let mut verification = Verification {
        catalog: &catalog,
        store: &store,
        schema: None,
        report: Report::default(),
        ends: BTreeMap::new(),
        partitions: 0,
        bar: bar(
            catalog
                .chains
                .values()
                .map(|files| files.len() as u64)
                .sum(),
            "files",
        ),
    };
    verification.strangers();
    verification.schema().await;
    for source in catalog.sources() {
        verification.partition(&source).await;
    }
    verification.bar.finish_and_clear();
    verification.partitions_without_a_file();
    verification.last_files().await;
    let Verification {
        schema,
        mut report,
        ends,
        ..
    } = verification;
    if let (Some(shared), Some(schema)) = (group, schema) {
        let missing = group::missing(shared, &schema.topic, &ends).await?;
        report.faults.extend(missing);
    }
    Ok(report)
}

/// The end of the files of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// There is no file of it.
    Nowhere,
    /// To this position.
    To(Offset),
    /// The last file, or the beginning where there is none, cannot be read.
    Unknown,
}

/// The schema of the data set, and of which topic it is.
struct Kept {
    topic: String,
    fingerprint: String,
}

/// The check of a data set, one part after the other.
struct Verification<'a> {
    catalog: &'a Catalog,
    store: &'a Store,
    schema: Option<Kept>,
    report: Report,
    ends: BTreeMap<Source, Reach>,
    /// The number of partitions that a run has begun all of; 0 if none says so.
    partitions: i32,
    /// The data files that are checked.
    bar: ProgressBar,
}

#[cfg(test)]
mod tests;
