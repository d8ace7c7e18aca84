//! Reads the facts that a file without rows states in its footer.

use super::footer::{FORMAT, PREFIX};
use super::seal;
use anyhow::{Context, ensure};
use bytes::Bytes;
use parquet::file::metadata::{KeyValue, ParquetMetaDataReader};

/// The facts of a file, by their keys.
pub(crate) struct Facts(Vec<KeyValue>);

impl Facts {
    /// Reads a file, which is held against its digest.
    pub(crate) fn of(file: &Bytes) -> anyhow::Result<Self> {
        let metadata = ParquetMetaDataReader::new()
            .parse_and_finish(file)
            .context("not a whole Parquet file")?;
        seal::check(file)?;
        let pairs = metadata.file_metadata().key_value_metadata().cloned();
        let facts = Self(pairs.unwrap_or_default());
        ensure!(
            facts.text("format")? == FORMAT,
            "another version of the collector wrote it"
        );
        Ok(facts)
    }

    /// The fact of this key.
    pub(crate) fn text(&self, key: &str) -> anyhow::Result<&str> {
        let is_own = |pair: &&KeyValue| pair.key.strip_prefix(PREFIX) == Some(key);
        let found = self.0.iter().find(is_own);
        let value = found.and_then(|pair| pair.value.as_deref());
        value.with_context(|| format!("its footer has no {PREFIX}{key}"))
    }
}
