//! A data set as a whole: every file's place in it, for those who check or show it.

use crate::dataset::names;
use crate::dataset::offset::Offset;
use crate::dataset::store::{Listed, Store};
use std::collections::{BTreeMap, BTreeSet};

/// A topic and one of its partitions.
pub(crate) type Source = (String, i32);

/// The files of a data set, by what their names say.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    /// Data files by topic and partition, in the order of their first offsets.
    pub(crate) chains: BTreeMap<Source, Vec<Listed>>,
    /// The paths of reject files, each with its first offset, by topic and partition.
    pub(crate) rejects: BTreeMap<Source, BTreeMap<String, Offset>>,
    /// The files that say where partitions begin, by topic and partition.
    pub(crate) begins: BTreeMap<Source, String>,
    /// The files that say how far bounded runs have collected.
    pub(crate) ends: Vec<String>,
    /// There is a schema.
    pub(crate) has_schema: bool,
    /// Files that readers of the folder may take for data, and that are not named as ours are.
    pub(crate) strangers: Vec<Listed>,
}

impl Catalog {
    /// Lists a data set.
    pub(crate) async fn list(store: &Store) -> anyhow::Result<Self> {
        let mut catalog = Self::default();
        for file in store.list_all().await? {
            if let Some((topic, partition, _)) = names::parse_data(&file.name) {
                let chain = catalog.chains.entry((topic.to_owned(), partition));
                chain.or_default().push(file);
            } else if let Some((topic, partition)) = names::parse_begin(&file.name) {
                let source = (topic.to_owned(), partition);
                catalog.begins.insert(source, file.name);
            } else if let Some(own) = names::parse_rejected_path(&file.name) {
                let source = (own.topic.to_owned(), own.partition);
                let paths = catalog.rejects.entry(source).or_default();
                paths.insert(file.name.clone(), own.first);
            } else if names::is_end(&file.name) {
                catalog.ends.push(file.name);
            } else if file.name == names::SCHEMA {
                catalog.has_schema = true;
            } else if names::may_be_read(&file.name) {
                catalog.strangers.push(file);
            }
        }
        Ok(catalog)
    }

    /// All topics and partitions that any file is of.
    pub(crate) fn sources(&self) -> BTreeSet<Source> {
        let data = self.chains.keys().chain(self.rejects.keys());
        data.chain(self.begins.keys()).cloned().collect()
    }

    /// There is no file of a data set at all.
    pub(crate) fn is_empty(&self) -> bool {
        !self.has_schema && self.ends.is_empty() && self.sources().is_empty()
    }
}
