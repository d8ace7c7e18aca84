//! Checks the files of one partition: they follow each other from its beginning on, and rejects belong to them.

use super::file::Check;
use super::{Reach, Verification};
use crate::dataset::begin::Begin;
use crate::dataset::catalog::Source;
use crate::dataset::names;
use std::collections::{BTreeMap, BTreeSet};

impl Verification<'_> {
    pub(super) async fn partition(&mut self, source: &Source) {
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
            expected = Some(expected.unwrap_or_default().max(next));
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
        let reach = expected.map_or(Reach::Unknown, Reach::To);
        self.ends.insert(source.clone(), reach);
    }

    /// The beginning of a partition, if it can be read.
    async fn begin(&mut self, source: &Source) -> Option<Begin> {
        let (topic, partition) = source;
        let path = names::begin(topic, *partition);
        let fault = match Begin::find(self.store, topic, *partition).await {
            Ok(Some(begin)) => {
                let own = self.schema.as_ref().map(|own| &own.fingerprint);
                if own.is_some_and(|own| *own != begin.schema) {
                    self.fault(format!("{path}: it has another schema than the data set"));
                }
                self.partitions = self.partitions.max(begin.partitions.unwrap_or(0));
                return Some(begin);
            }
            Ok(None) => {
                format!("{path}: it is missing, so that missing first files would not show")
            }
            Err(error) => format!("{error:#}"),
        };
        self.fault(fault);
        None
    }
}
