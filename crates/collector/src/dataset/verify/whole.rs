//! Checks what is not of one partition: the schema, files that are none of ours, and how far bounded runs have collected.

use super::{Kept, Reach, Verification};
use crate::dataset::end::End;
use crate::dataset::names;
use crate::dataset::offset::Offset;
use crate::dataset::store::Store;
use crate::encode::schema::Schema;

impl Verification<'_> {
    pub(super) fn fault(&mut self, fault: String) {
        self.report.faults.push(fault);
    }

    pub(super) fn strangers(&mut self) {
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

    pub(super) async fn schema(&mut self) {
        if self.catalog.is_empty() {
            return;
        }
        match read_schema(self.store).await {
            Ok(Some(schema)) => self.schema = Some(schema),
            Ok(None) => self.fault(format!("{}: it is missing", names::SCHEMA)),
            Err(error) => self.fault(format!("{}: {error:#}", names::SCHEMA)),
        }
    }

    pub(super) fn partitions_without_a_file(&mut self) {
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
    pub(super) async fn last_files(&mut self) {
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
                let files = match self.ends.get(&source).copied().unwrap_or(Reach::Nowhere) {
                    Reach::To(files) if files < reached => format!("the files end at {files}"),
                    Reach::Nowhere if reached > Offset::default() => "there is no file".to_owned(),
                    Reach::To(_) | Reach::Nowhere | Reach::Unknown => continue,
                };
                self.fault(format!(
                    "{} {partition}: the last files are missing: a bounded run has collected up to {reached}, {files}",
                    end.topic
                ));
            }
        }
    }
}

async fn read_schema(store: &Store) -> anyhow::Result<Option<Kept>> {
    let Some(file) = store.find(names::SCHEMA).await? else {
        return Ok(None);
    };
    let (schema, topic) = Schema::of_data_set(&file)?;
    let fingerprint = schema.fingerprint()?;
    Ok(Some(Kept { topic, fingerprint }))
}
