//! Checks a data set: every record of its stretch once, footers true, nothing missing at either end or in between.

mod file;
mod group;

use crate::dataset::begin::Begin;
use crate::dataset::catalog::{Catalog, Source};
use crate::dataset::end::End;
use crate::dataset::store::{Location, Store};
use crate::dataset::{names, seal};
use crate::encode::schema::{self, Schema};
use anyhow::Context;
use file::Check;
use indicatif::ProgressBar;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
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

/// The schema of the data set, and of which topic it is.
struct Kept {
    topic: String,
    fingerprint: String,
}

struct Verification<'a> {
    catalog: &'a Catalog,
    store: &'a Store,
    schema: Option<Kept>,
    report: Report,
    /// The end of the files of each partition; `None` where its last file cannot be read.
    ends: BTreeMap<Source, Option<i64>>,
    /// The number of partitions that a run has begun all of; 0 if none says so.
    partitions: i32,
    /// The data files that are checked.
    bar: ProgressBar,
}

impl Verification<'_> {
    fn fault(&mut self, fault: String) {
        self.report.faults.push(fault);
    }

    fn strangers(&mut self) {
        if self.catalog.is_empty() {
            self.fault(format!(
                "{}: there is no data set here: no schema, no file",
                self.store
            ));
        }
        for stranger in &self.catalog.strangers {
            self.fault(format!(
                "{}: not a name of this data set, and pandas, polars, DuckDB or Spark may read it as a part of it: move it \
                 elsewhere",
                stranger.name
            ));
        }
    }

    async fn schema(&mut self) {
        if self.catalog.is_empty() {
            return;
        }
        match read_schema(self.store).await {
            Ok(Some(schema)) => self.schema = Some(schema),
            Ok(None) => self.fault(format!("{}: it is missing", names::SCHEMA)),
            Err(error) => self.fault(format!("{}: {error:#}", names::SCHEMA)),
        }
    }

    async fn partition(&mut self, source: &Source) {
        let (topic, partition) = source;
        let (own, catalog) = (self.schema.as_ref().map(|own| &own.topic), self.catalog);
        if let Some(own) = own.filter(|own| *own != topic) {
            let fault =
                format!("{topic} {partition}: there are files of it, in a data set of {own}");
            self.fault(fault);
        }
        let begin = self.begin(source).await;
        let (none, no_file) = (BTreeMap::new(), Vec::new());
        let rejects = catalog.rejects.get(source).unwrap_or(&none);
        let files = catalog.chains.get(source).unwrap_or(&no_file);
        // The end of an unreadable file is not known: the next file is taken to follow it.
        let mut expected = begin.as_ref().map(|begin| begin.first);
        let mut counted = BTreeSet::new();
        for file in files {
            let fingerprint = self.schema.as_ref().map(|own| own.fingerprint.as_str());
            let check = Check {
                store: self.store,
                fingerprint,
                file,
                rejects,
            };
            let read = check.read(&mut self.report).await;
            self.bar.inc(1);
            let footer = match read {
                Ok(footer) => footer,
                Err(error) => {
                    self.fault(format!("{}: {error:#}", file.name));
                    expected = None;
                    continue;
                }
            };
            counted.extend(check.path_of_rejects(&footer));
            let (first, next) = (footer.first, footer.next);
            match expected {
                Some(end) if end < first => self.fault(format!(
                    "{}: gap, offsets {end} to {first} of {topic} {partition} are in no file",
                    file.name
                )),
                Some(end) if end > first => self.fault(format!(
                    "{}: overlap, offsets {first} to {} of {topic} {partition} are in the file before it too, or \
                     before its beginning",
                    file.name,
                    end.min(next)
                )),
                _ => {}
            }
            if let Some(id) = begin.as_ref().and_then(|begin| begin.topic_id)
                && footer.topic_id.is_some_and(|own| own != id)
            {
                self.fault(format!(
                    "{}: it is of another topic named {topic}, which was deleted and created again",
                    file.name
                ));
            }
            expected = Some(expected.unwrap_or(0).max(next));
        }
        if let Some(begin) = &begin
            && files.is_empty()
            && !begin.empty
        {
            self.fault(format!(
                "{topic} {partition}: it begins at {}, and there is no file of it; where the collector was killed just \
                 then, its next start writes one",
                begin.first
            ));
        }
        for (path, first) in rejects {
            let beyond = !files.is_empty() && expected.is_some_and(|end| *first >= end);
            if !counted.contains(path) && !beyond {
                self.fault(format!("{path}: belongs to no data file"));
            }
        }
        self.ends.insert(source.clone(), expected);
    }

    fn partitions_without_a_file(&mut self) {
        let Some(topic) = self.schema.as_ref().map(|own| own.topic.clone()) else {
            return;
        };
        if self.ends.is_empty() {
            self.fault(format!(
                "{}: there is nothing here but the schema: all files are missing, or no record was collected yet",
                self.store
            ));
        }
        for partition in 0..self.partitions {
            if !self.ends.contains_key(&(topic.clone(), partition)) {
                self.fault(format!(
                    "{topic} {partition}: there is no file of it, not even of its beginning: they are missing, or the \
                     bounded run over all {} partitions was stopped before, and the same call goes on",
                    self.partitions
                ));
            }
        }
    }

    /// Names the partitions whose files end before a bounded run had ended.
    async fn last_files(&mut self) {
        let catalog = self.catalog;
        for path in &catalog.ends {
            let file = self.store.read(path).await;
            let end = match file.and_then(|file| End::from_file(&file)) {
                Ok(end) => end,
                Err(error) => {
                    self.fault(format!("{path}: {error:#}"));
                    continue;
                }
            };
            let own = self.schema.as_ref();
            if own.is_some_and(|own| (&own.topic, &own.fingerprint) != (&end.topic, &end.schema)) {
                self.fault(format!("{path}: it is of another data set"));
                continue;
            }
            for (partition, reached) in end.positions {
                let source = (end.topic.clone(), partition);
                // The end of files that cannot be read is not known.
                let files = self.ends.get(&source).copied().unwrap_or(Some(0));
                if let Some(files) = files.filter(|files| *files < reached) {
                    self.fault(format!(
                        "{} {partition}: the last files are missing: a bounded run has collected up to {reached}, the \
                         files end at {files}",
                        end.topic
                    ));
                }
            }
        }
    }

    /// The beginning of a partition, if it can be read.
    async fn begin(&mut self, source: &Source) -> Option<Begin> {
        let (topic, partition) = source;
        let path = names::begin(topic, *partition);
        let fault = match Begin::find(self.store, topic, *partition).await {
            Ok(Some(begin)) if (&begin.topic, begin.partition) == (topic, *partition) => {
                let own = self.schema.as_ref().map(|own| &own.fingerprint);
                if own.is_some_and(|own| *own != begin.schema) {
                    self.fault(format!("{path}: it has another schema than the data set"));
                }
                self.partitions = self.partitions.max(begin.partitions.unwrap_or(0));
                return Some(begin);
            }
            Ok(Some(begin)) => format!(
                "{path}: it is that of {}",
                names::begin(&begin.topic, begin.partition)
            ),
            Ok(None) => {
                format!("{path}: it is missing, so that missing first files would not show")
            }
            Err(error) => format!("{path}: {error:#}"),
        };
        self.fault(fault);
        None
    }
}

async fn read_schema(store: &Store) -> anyhow::Result<Option<Kept>> {
    let Some(file) = store.find(names::SCHEMA).await? else {
        return Ok(None);
    };
    let fingerprint = Schema::from_file(file.clone())?.fingerprint()?;
    let topic = schema::topic(&file).context("it does not say of which topic the data set is")?;
    seal::check(&file)?;
    Ok(Some(Kept { topic, fingerprint }))
}

#[cfg(test)]
mod tests;
