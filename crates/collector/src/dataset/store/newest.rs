//! Finds a partition's newest files without listing those before: a million of them are a thousand requests on a bucket.

use super::Store;
use crate::dataset::names;
use crate::dataset::offset::Offset;
use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use std::collections::BTreeMap;
use std::fs;
use std::io;

/// The names of one answer of a bucket.
const PAGE: usize = 1_000;

/// The partitions that are asked for at a time.
const AT_ONCE: usize = 16;

/// Growth of the stride while no end is seen.
const STRIDE: u64 = 4;

/// Some names of a bucket, in their order.
struct Page {
    names: Vec<String>,
    /// None follows.
    is_last: bool,
}

impl Store {
    /// The name of the newest data file of each of these partitions; `None` where there is none.
    pub(crate) async fn newest(
        &self,
        topic: &str,
        partitions: &[i32],
    ) -> anyhow::Result<Vec<Option<String>>> {
        if self.folder.is_none() {
            let search = |partition: &i32| self.search(topic.to_owned(), *partition);
            let searches = partitions.iter().map(search).collect::<Vec<_>>();
            return stream::iter(searches).buffered(AT_ONCE).try_collect().await;
        }
        let own = topic.to_owned();
        let newest = self.read_folder(None, BTreeMap::new(), move |newest, name| {
            if let Some((of, partition, first)) = names::parse_data(name)
                && of == own
            {
                let known = newest.entry(partition).or_insert(first);
                *known = first.max(*known);
            }
        });
        let newest = newest.await?;
        let name = |partition: &i32| {
            let first = newest.get(partition)?;
            Some(names::data(topic, *partition, *first))
        };
        Ok(partitions.iter().map(name).collect())
    }

    /// The first offsets of each partition's newest data files, in their order, at most `most` of each; none of a bucket,
    /// where all would have to be listed.
    pub(crate) async fn newest_files(
        &self,
        topic: &str,
        most: usize,
    ) -> anyhow::Result<BTreeMap<i32, Vec<Offset>>> {
        if self.folder.is_none() {
            return Ok(BTreeMap::new());
        }
        let own = topic.to_owned();
        let found = BTreeMap::<i32, Vec<Offset>>::new();
        let found = self.read_folder(None, found, move |found, name| {
            if let Some((of, partition, first)) = names::parse_data(name)
                && of == own
            {
                found.entry(partition).or_default().push(first);
            }
        });
        let mut found = found.await?;
        for firsts in found.values_mut() {
            firsts.sort_unstable();
            firsts.drain(..firsts.len().saturating_sub(most));
        }
        Ok(found)
    }

    /// The paths of each partition's reject files that start at an offset or after it.
    pub(crate) async fn rejects_from(
        &self,
        topic: &str,
        starts: &[(i32, Offset)],
    ) -> anyhow::Result<Vec<Vec<String>>> {
        let path = |name: String| format!("{}/{name}", names::REJECTED);
        if self.folder.is_none() {
            let look = |(partition, first): &(i32, Offset)| {
                let prefix = names::data_prefix(topic, *partition);
                let from = names::rejects_from(topic, *partition, *first);
                async move { self.page(Some(names::REJECTED), &prefix, &from).await }
            };
            let looks = starts.iter().map(look).collect::<Vec<_>>();
            let pages: Vec<Page> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
            let pages = pages.into_iter();
            return Ok(pages
                .map(|page| page.names.into_iter().map(path).collect())
                .collect());
        }
        let own = topic.to_owned();
        let wanted: BTreeMap<i32, Offset> = starts.iter().copied().collect();
        let found = BTreeMap::<i32, Vec<String>>::new();
        let found = self.read_folder(Some(names::REJECTED), found, move |found, name| {
            if let Some(file) = names::parse_rejected(name)
                && file.topic == own
                && wanted
                    .get(&file.partition)
                    .is_some_and(|first| file.first >= *first)
            {
                found
                    .entry(file.partition)
                    .or_default()
                    .push(name.to_owned());
            }
        });
        let mut found = found.await?;
        let take = |(partition, _): &(i32, Offset)| {
            let names = found.remove(partition).unwrap_or_default();
            names.into_iter().map(path).collect()
        };
        Ok(starts.iter().map(take).collect())
    }

    /// A file of the data set itself whose name begins so; `None` where there is none.
    pub(crate) async fn any_with_prefix(&self, prefix: &str) -> anyhow::Result<Option<String>> {
        if self.folder.is_none() {
            let page = self.page(None, prefix, prefix).await?;
            return Ok(page.names.into_iter().next());
        }
        let own = prefix.to_owned();
        let found = self.read_folder(None, None, move |found: &mut Option<String>, name| {
            if found.is_none() && name.starts_with(&own) {
                *found = Some(name.to_owned());
            }
        });
        found.await
    }

    /// Steps ever further until there is nothing, then halves what lies between.
    async fn search(&self, topic: String, partition: i32) -> anyhow::Result<Option<String>> {
        let prefix = names::data_prefix(&topic, partition);
        let page = |from: Offset| {
            let (prefix, from) = (prefix.clone(), format!("{prefix}{from:020}"));
            async move { self.page(None, &prefix, &from).await }
        };
        let first = |name: Option<&String>| names::parse_data(name?).map(|(.., first)| first);
        let mut newest = page(Offset::default()).await?;
        let mut beyond: Option<Offset> = None;
        let mut step = 0_u64;
        loop {
            let Some(low) = first(newest.names.last()) else {
                return Ok(None);
            };
            if newest.is_last {
                return Ok(newest.names.pop());
            }
            let span = low.since(first(newest.names.first()).unwrap_or(low));
            let from = match beyond {
                None => {
                    step = (step * STRIDE).max(span);
                    low.plus(step)
                }
                Some(beyond) if beyond.since(low) <= span => low.next(),
                Some(beyond) => low.plus(beyond.since(low) / 2),
            };
            let from = from.max(low.next());
            let found = page(from).await?;
            if !found.names.is_empty() {
                newest = found;
            } else if from == low.next() {
                return Ok(newest.names.pop());
            } else {
                beyond = Some(from);
            }
        }
    }

    /// The names in the data set, or in a folder of it, that begin with `prefix`, from `from` on.
    async fn page(&self, folder: Option<&str>, prefix: &str, from: &str) -> anyhow::Result<Page> {
        let folder = folder.map(Path::from);
        let start = match &folder {
            Some(folder) => folder.clone().join(from),
            None => Path::from(from),
        };
        let mut listed = self.files.list_with_offset(folder.as_ref(), &start);
        let mut names = Vec::new();
        while names.len() < PAGE {
            let object = listed.try_next().await;
            let object = object.with_context(|| format!("listing {self}"))?;
            let key = object.map(|object| object.location.to_string());
            let name = key.as_deref().and_then(|key| match &folder {
                Some(folder) => key.strip_prefix(folder.as_ref())?.strip_prefix('/'),
                None => Some(key),
            });
            match name.filter(|name| name.starts_with(prefix)) {
                // In a folder below, as where another data set lies.
                Some(name) if name.contains('/') => {}
                Some(name) => names.push(name.to_owned()),
                None => {
                    let is_last = true;
                    return Ok(Page { names, is_last });
                }
            }
        }
        let is_last = false;
        Ok(Page { names, is_last })
    }

    /// Takes the names of a local folder's files one by one into `found`; a folder that is not there has none.
    async fn read_folder<Found: Send + 'static>(
        &self,
        folder: Option<&str>,
        mut found: Found,
        take: impl Fn(&mut Found, &str) + Send + 'static,
    ) -> anyhow::Result<Found> {
        let root = self.folder.clone().unwrap_or_default();
        let place = root.join(folder.unwrap_or_default());
        let read = move || -> io::Result<Found> {
            let entries = match fs::read_dir(place) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
                entries => entries?,
            };
            for entry in entries {
                if let Some(name) = entry?.file_name().to_str() {
                    take(&mut found, name);
                }
            }
            Ok(found)
        };
        let read = tokio::task::spawn_blocking(read).await?;
        read.with_context(|| format!("listing {self}"))
    }
}
