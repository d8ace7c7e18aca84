//! The schema as a file of the data set: Parquet without rows, so that readers of the whole folder stumble over nothing.
//!
//! A file of any other kind would stop polars, which takes all files of a folder or none. This one has the columns of
//! all others, and the schema as JSON in its footer.

use super::Schema;
use crate::dataset::seal;
use anyhow::Context;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::metadata::{KeyValue, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;
use std::sync::Arc;

/// The footer's key of the topic.
const TOPIC: &str = "tidemill.topic";

/// The footer's key of the schema.
const KEY: &str = "tidemill.schema.json";

/// The first bytes of every Parquet file.
const PARQUET: &[u8] = b"PAR1";

impl Schema {
    /// The bytes of the file of a data set of `topic`; the same schema and topic give the same bytes.
    pub(crate) fn to_parquet(&self, topic: &str) -> anyhow::Result<Bytes> {
        let json = String::from_utf8(self.to_json()?)?;
        let topic = KeyValue::new(TOPIC.to_owned(), topic.to_owned());
        self.without_rows(vec![topic, KeyValue::new(KEY.to_owned(), json)])
    }

    /// A sealed Parquet file with these columns, no rows, and `pairs` in its footer.
    pub(crate) fn without_rows(&self, pairs: Vec<KeyValue>) -> anyhow::Result<Bytes> {
        let properties = WriterProperties::builder()
            .set_created_by(concat!("tidemill version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(pairs))
            .build();
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true);
        let mut file = Vec::new();
        ArrowWriter::try_new_with_options(&mut file, Arc::new(self.to_arrow()), options)?
            .close()?;
        seal::seal(&file.into())
    }

    /// Reads a data set's file, or the JSON that people write.
    ///
    /// Errors: as [`Schema::from_json`], or there is no schema in it.
    pub(crate) fn from_file(file: Bytes) -> anyhow::Result<Self> {
        if !file.starts_with(PARQUET) {
            return Self::from_json(&file);
        }
        Self::from_json(value(&file, KEY)?.as_bytes())
    }

    /// Reads a data set's own file, which is held against its digest: the schema, and the topic that the data set is of.
    pub(crate) fn of_data_set(file: &Bytes) -> anyhow::Result<(Self, String)> {
        let schema = Self::from_file(file.clone())?;
        let topic = value(file, TOPIC).context("it does not say of which topic the data set is")?;
        seal::check(file)?;
        Ok((schema, topic))
    }
}

fn value(file: &Bytes, key: &str) -> anyhow::Result<String> {
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(file)
        .context("not a whole Parquet file")?;
    let pairs = metadata.file_metadata().key_value_metadata();
    let mut pairs = pairs.into_iter().flatten();
    let found = pairs.find(|pair| pair.key == key);
    let value = found.and_then(|pair| pair.value.clone());
    value.with_context(|| format!("no {key} in its footer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::schema::{Column, Kind};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    #[test]
    fn a_schema_is_read_from_its_file_which_has_its_columns_and_no_rows() {
        let schema = Schema {
            columns: vec![Column {
                name: "tags".into(),
                kind: Kind::List(Box::new(Kind::String)),
            }],
            headers: true,
            features: None,
        };
        let file = schema.to_parquet("t").unwrap();
        assert_eq!(file, schema.to_parquet("t").unwrap());
        assert_eq!(Schema::from_file(file.clone()).unwrap(), schema);
        let kept = Schema::of_data_set(&file).unwrap();
        assert_eq!(kept, (schema.clone(), "t".to_owned()));
        assert_eq!(
            Schema::from_file(schema.to_json().unwrap().into()).unwrap(),
            schema
        );
        let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
        assert_eq!(reader.schema().fields(), &schema.to_arrow().fields);
        assert_eq!(reader.build().unwrap().count(), 0);
        let cut = file.slice(..file.len() - 1);
        assert!(Schema::from_file(cut).is_err());
    }
}
