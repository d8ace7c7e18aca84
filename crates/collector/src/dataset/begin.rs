//! The beginning of a partition in a data set, and its reason: a file without rows, published before the first records.
//!
//! It makes missing leading files and missing partitions show, and keeps two processes from beginning at two places.

use crate::dataset::damage::damaged;
use crate::dataset::facts::Facts;
use crate::dataset::footer::{FORMAT, PREFIX};
use crate::dataset::names;
use crate::dataset::offset::Offset;
use crate::dataset::store::{Creation, Store};
use crate::encode::frozen::Frozen;
use anyhow::{Context, ensure};
use bytes::Bytes;
use parquet::file::metadata::KeyValue;
use std::fmt;
use tidemill_core::kafka::TopicId;

/// The beginning of one partition. All of it follows from topic and flags, nothing from the time of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    /// The topic.
    pub(crate) topic: String,
    /// The topic's id; `None` where the brokers have none.
    pub(crate) topic_id: Option<TopicId>,
    /// The partition.
    pub(crate) partition: i32,
    /// The position of the first record, whether retention has left it or not.
    pub(crate) first: Offset,
    /// The number of the topic's partitions, if the run begins all of them, as bounded runs do.
    pub(crate) partitions: Option<i32>,
    /// `--from`, in milliseconds since the epoch; without it a partition begins at 0.
    pub(crate) from: Option<i64>,
    /// The partition had no record to collect yet when it was begun.
    pub(crate) empty: bool,
    /// The fingerprint of the data set's schema.
    pub(crate) schema: String,
}

impl Begin {
    /// Publishes it where the partition is not begun yet, and returns where it begins: a peer may have been first.
    pub(crate) async fn publish(&self, store: &Store, frozen: &Frozen) -> anyhow::Result<Offset> {
        let path = names::begin(&self.topic, self.partition);
        let file = frozen.schema.without_rows(self.to_key_values())?;
        match store.create(&path, file).await? {
            Creation::Created => Ok(self.first),
            Creation::Exists(theirs) => Ok(Self::read(store, &path, &theirs)?.first),
        }
    }

    /// The beginning of a partition; `None` if it is not begun yet.
    ///
    /// Errors: the store does not answer, or the file is damaged, which is a usage failure.
    pub(crate) async fn find(
        store: &Store,
        topic: &str,
        partition: i32,
    ) -> anyhow::Result<Option<Self>> {
        let path = names::begin(topic, partition);
        let file = store.find(&path).await?;
        file.map(|file| Self::read(store, &path, &file)).transpose()
    }

    /// Reads the file at `path`.
    ///
    /// Errors: it is damaged, which is a usage failure.
    pub(crate) fn read(store: &Store, path: &str, file: &Bytes) -> anyhow::Result<Self> {
        let read = Self::from_file(file).and_then(|begin| {
            let named = names::begin(&begin.topic, begin.partition);
            ensure!(named == path, "it is that of {named}");
            Ok(begin)
        });
        read.map_err(|cause| damaged(store, path, cause))
    }

    /// Reads the file, which is held against its digest.
    fn from_file(file: &Bytes) -> anyhow::Result<Self> {
        let facts = Facts::of(file)?;
        let text = |key: &str| facts.text(key);
        let number = |key: &str| -> anyhow::Result<i64> {
            let text = text(key)?;
            text.parse()
                .with_context(|| format!("its footer's {PREFIX}{key} is {text:?}"))
        };
        Ok(Self {
            topic: text("topic")?.to_owned(),
            topic_id: text("topic_id").ok().and_then(|id| id.parse().ok()),
            partition: number("partition")?.try_into()?,
            first: number("first")?.into(),
            partitions: number("partitions")
                .ok()
                .and_then(|count| count.try_into().ok()),
            from: number("from").ok(),
            empty: text("empty")? == "true",
            schema: text("schema")?.to_owned(),
        })
    }

    fn to_key_values(&self) -> Vec<KeyValue> {
        let pair = |key: &str, value: &dyn fmt::Display| {
            KeyValue::new(format!("{PREFIX}{key}"), value.to_string())
        };
        let id = self.topic_id.as_ref().map(|id| pair("topic_id", id));
        let partitions = self.partitions.as_ref();
        let partitions = partitions.map(|count| pair("partitions", count));
        let from = self.from.as_ref().map(|from| pair("from", from));
        let pairs = [
            pair("format", &FORMAT),
            pair("topic", &self.topic),
            pair("partition", &self.partition),
            pair("first", &self.first),
            pair("empty", &self.empty),
            pair("schema", &self.schema),
        ];
        let more = id.into_iter().chain(partitions).chain(from);
        pairs.into_iter().chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::schema::Sample;

    #[test]
    fn beginnings_are_read_as_written() {
        let mut sample = Sample::default();
        sample.observe(Some(b"{\"n\":1}")).unwrap();
        let schema = sample.schema(false);
        let begin = Begin {
            topic: "t".into(),
            topic_id: "AAAAAAAAAAAAAAAAAAAAAQ".parse().ok(),
            partition: 3,
            first: 200.into(),
            partitions: Some(8),
            from: Some(1_700_000_000_000),
            empty: true,
            schema: "ab".into(),
        };
        let live = Begin {
            topic_id: None,
            first: 0.into(),
            partitions: None,
            from: None,
            empty: false,
            ..begin.clone()
        };
        for begin in [begin, live] {
            let file = schema.without_rows(begin.to_key_values()).unwrap();
            assert_eq!(Begin::from_file(&file).unwrap(), begin);
            let cut = file.slice(..file.len() - 1);
            assert!(Begin::from_file(&cut).is_err());
        }
    }
}
