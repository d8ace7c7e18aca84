//! The rows of a file on their way into Parquet: gathered as columns, and written as often as those are full.

use super::Codec;
use crate::dataset::footer::Footer;
use crate::dataset::seal;
use crate::encode::columns::{Coordinates, Misfits, Rows};
use crate::encode::frozen::Frozen;
use crate::features::{Columns, History, Unknown};
use anyhow::Context;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::sync::Arc;
use tidemill_core::record::Reject;

/// The footer's key of the columns that hold JSON text.
const JSON: &str = "tidemill.json";

/// One Parquet file of one row group under construction.
pub(super) struct Table<'a> {
    frozen: &'a Frozen,
    partition: i32,
    history: Option<&'a History>,
    rows: Rows,
    features: Option<Columns<'a>>,
    /// Rows written so far, and those of them with unknown features.
    written: (u64, Unknown),
    /// The misfits of these rows.
    misfits: Misfits,
    file: ArrowWriter<Vec<u8>>,
}

impl<'a> Table<'a> {
    /// No rows yet, of `partition`.
    pub(super) fn open(
        frozen: &'a Frozen,
        partition: i32,
        codec: Codec,
        history: Option<&'a History>,
    ) -> anyhow::Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(codec.to_parquet()?)
            .set_created_by(concat!("tidemill version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_max_row_group_row_count(None)
            .build();
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true);
        let schema = Arc::new(frozen.schema.to_arrow());
        let file = ArrowWriter::try_new_with_options(Vec::new(), schema, options);
        Ok(Self {
            frozen,
            partition,
            history,
            rows: Rows::new(&frozen.schema, partition),
            features: history.map(Columns::of),
            written: (0, Unknown::default()),
            misfits: Misfits::default(),
            file: file.context("beginning a Parquet file")?,
        })
    }

    /// Adds a record as a row, or says why it cannot become one; then nothing was added.
    pub(super) fn push<'r>(
        &mut self,
        at: Coordinates<'r, impl Iterator<Item = (&'r [u8], Option<&'r [u8]>)>>,
        value: Option<&[u8]>,
    ) -> Result<(), Reject> {
        self.rows.push(at, value)?;
        if let Some(columns) = &mut self.features {
            columns.push(value.unwrap_or_default());
        }
        Ok(())
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.written.0 + self.rows.len() as u64
    }

    /// Fields that fitted no column so far.
    pub(super) fn misfits(&self) -> Misfits {
        let mut all = self.misfits.clone();
        all.extend(self.rows.misfits());
        all
    }

    /// Rows with unknown features so far.
    pub(super) fn unknown(&self) -> Unknown {
        let rest = self.features.as_ref().map(Columns::unknown);
        self.written.1.and(rest.unwrap_or_default())
    }

    /// Makes room where there is none for more rows.
    pub(super) fn write_if_full(&mut self) -> anyhow::Result<()> {
        if self.rows.is_full() {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> anyhow::Result<()> {
        let none = Rows::new(&self.frozen.schema, self.partition);
        let rows = std::mem::replace(&mut self.rows, none);
        let none = self.history.map(Columns::of);
        let features = std::mem::replace(&mut self.features, none);
        let unknown = features.as_ref().map(Columns::unknown);
        let features = features.map(Columns::finish).unwrap_or_default();
        self.written.0 += rows.len() as u64;
        self.misfits.extend(rows.misfits());
        self.written.1 = self.written.1.and(unknown.unwrap_or_default());
        let rows = rows.finish(features)?;
        self.file.write(&rows).context("writing a Parquet file")
    }

    /// The file's bytes.
    pub(super) fn finish(mut self, footer: &Footer) -> anyhow::Result<Bytes> {
        self.write()?;
        let json = serde_json::json!(self.frozen.schema.json_places()).to_string();
        let json = KeyValue::new(JSON.to_owned(), json);
        for pair in footer.to_key_values().into_iter().chain([json]) {
            self.file.append_key_value_metadata(pair);
        }
        let file = self.file.into_inner().context("ending a Parquet file")?;
        seal::seal(&file.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::reader;
    use crate::encode::schema::Schema;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Int64Type;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    #[test]
    fn rows_that_are_written_in_parts_are_one_table() {
        let columns: Vec<_> = (0..1_000)
            .map(|n| serde_json::json!({"name": format!("f{n}"), "type": "int64"}))
            .collect();
        let schema = serde_json::json!({ "columns": columns }).to_string();
        let schema = Schema::from_json(schema.as_bytes()).unwrap();
        let frozen = Frozen {
            fingerprint: schema.fingerprint().unwrap(),
            schema,
        };
        let encoded = || {
            let mut table = Table::open(&frozen, 0, Codec::Zstd, None).unwrap();
            let mut parts = 0;
            for offset in 0..5_000 {
                let at = Coordinates {
                    offset: offset.into(),
                    timestamp: None,
                    key: None,
                    headers: std::iter::empty(),
                };
                let value = format!("{{\"f{}\":{offset},\"new\":1}}", offset % 1_000);
                table.push(at, Some(value.as_bytes())).unwrap();
                parts += u32::from(table.rows.is_full());
                table.write_if_full().unwrap();
                assert_eq!(table.rows(), offset as u64 + 1);
            }
            assert_eq!((parts, table.misfits().total()), (2, 5_000));
            let footer = Footer {
                topic: "t".into(),
                topic_id: None,
                last: None,
                partition: 0,
                first: 0.into(),
                next: 5_000.into(),
                rows: table.rows(),
                rejected: 0,
                rejects: None,
                misfits: table.misfits(),
                unknown: table.unknown(),
                gap: false,
                schema: frozen.fingerprint.clone(),
                version: "0".into(),
            };
            (table.finish(&footer).unwrap(), footer)
        };
        let (file, footer) = encoded();
        assert_eq!(file, encoded().0);
        assert_eq!(reader::footer(&file).unwrap(), footer);
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        assert_eq!(reader.metadata().num_row_groups(), 1);
        let mut expected = 0;
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            for row in 0..batch.num_rows() {
                let offsets = batch.column_by_name("_offset").unwrap();
                assert_eq!(offsets.as_primitive::<Int64Type>().value(row), expected);
                let own = batch.column(expected as usize % 1_000);
                assert_eq!(own.as_primitive::<Int64Type>().value(row), expected);
                assert!(batch.column((expected as usize + 1) % 1_000).is_null(row));
                expected += 1;
            }
        }
        assert_eq!(expected, 5_000);
    }
}
