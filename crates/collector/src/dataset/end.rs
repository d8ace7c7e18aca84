//! The end of a bounded run in a data set: a file without rows, published when all files of the run are there.
//!
//! It makes missing last files show, of which no other file tells.

use crate::dataset::facts::Facts;
use crate::dataset::footer::{FORMAT, PREFIX};
use crate::dataset::offset::Offset;
use crate::dataset::store::Store;
use crate::dataset::{names, seal};
use crate::encode::frozen::Frozen;
use anyhow::Context;
use bytes::Bytes;
use parquet::file::metadata::KeyValue;
use std::collections::BTreeMap;

/// The end of a bounded run. All of it follows from the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The topic.
    pub(crate) topic: String,
    /// The position after the last file of each partition, or where it begins.
    pub(crate) positions: BTreeMap<i32, Offset>,
    /// The fingerprint of the data set's schema.
    pub(crate) schema: String,
}

impl End {
    /// Publishes it, unless a run has ended just here before.
    pub(crate) async fn publish(&self, store: &Store, frozen: &Frozen) -> anyhow::Result<()> {
        let positions = serde_json::to_string(&self.positions)?;
        let path = names::end(&self.topic, &seal::hex(positions.as_bytes()));
        let pairs = [
            ("format", FORMAT),
            ("topic", &self.topic),
            ("positions", &positions),
            ("schema", &self.schema),
        ];
        let pairs =
            pairs.map(|(key, value)| KeyValue::new(format!("{PREFIX}{key}"), value.to_owned()));
        let file = frozen.schema.without_rows(pairs.to_vec())?;
        store.create(&path, file).await.map(drop)
    }

    /// Reads the file, which is held against its digest.
    pub(crate) fn from_file(file: &Bytes) -> anyhow::Result<Self> {
        let facts = Facts::of(file)?;
        let text = |key: &str| facts.text(key);
        Ok(Self {
            topic: text("topic")?.to_owned(),
            positions: serde_json::from_str(text("positions")?).context("its positions")?,
            schema: text("schema")?.to_owned(),
        })
    }
}
