//! The end of a bounded run in a data set: a file without rows, published when all files of the run are there.
//!
//! It makes missing last files show, of which no other file tells.

use crate::dataset::footer::{FORMAT, PREFIX};
use crate::dataset::store::Store;
use crate::dataset::{names, seal};
use crate::encode::frozen::Frozen;
use anyhow::{Context, ensure};
use bytes::Bytes;
use parquet::file::metadata::{KeyValue, ParquetMetaDataReader};
use std::collections::BTreeMap;

/// How far a bounded run has collected. All of it follows from the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The topic.
    pub(crate) topic: String,
    /// The position after the last file of each partition, or where it begins.
    pub(crate) positions: BTreeMap<i32, i64>,
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
        let metadata = ParquetMetaDataReader::new()
            .parse_and_finish(file)
            .context("not a whole Parquet file")?;
        seal::check(file)?;
        let pairs = metadata.file_metadata().key_value_metadata();
        let text = |key: &str| {
            let mut pairs = pairs.into_iter().flatten();
            let found = pairs.find(|pair| pair.key.strip_prefix(PREFIX) == Some(key));
            let value = found.and_then(|pair| pair.value.as_deref());
            value.with_context(|| format!("its footer has no {PREFIX}{key}"))
        };
        ensure!(
            text("format")? == FORMAT,
            "another version of the collector wrote it"
        );
        Ok(Self {
            topic: text("topic")?.to_owned(),
            positions: serde_json::from_str(text("positions")?).context("its positions")?,
            schema: text("schema")?.to_owned(),
        })
    }
}
