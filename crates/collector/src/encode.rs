//! A batch as the bytes of its files: the same records, schema and version always give the same bytes.

use crate::buffer::{Batch, Raw};
use crate::columns::{Coordinates, Rows};
use crate::features::{Columns, History};
use crate::footer::Footer;
use crate::frozen::Frozen;
use crate::{names, rejects};
use anyhow::Context;
use arrow::array::{ArrayRef, RecordBatch};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

/// How the columns of a file are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None,
    /// Snappy.
    Snappy,
    /// LZ4, raw blocks.
    Lz4,
    /// Zstandard at level 1.
    #[default]
    Zstd,
}

/// The files of one batch, ready to be published in this order.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    /// The partition's records in [`first`, `next`).
    pub(crate) footer: Footer,
    /// The file that stands for a gap before the batch.
    pub(crate) gap: Option<File>,
    /// What could not become a row.
    pub(crate) rejects: Option<File>,
    /// The rows.
    pub(crate) data: File,
    /// Fields that fitted no column.
    pub(crate) misfits: usize,
}

/// A file of the data set: its path within it, and its bytes.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// The path.
    pub(crate) path: String,
    /// The bytes.
    pub(crate) bytes: Bytes,
}

/// Encodes the records of one partition.
pub(crate) fn encode(
    topic: &str,
    partition: i32,
    batch: &Batch,
    frozen: &Frozen,
    codec: Codec,
    history: Option<&History>,
) -> anyhow::Result<Encoded> {
    let mut rows = Rows::new(&frozen.schema, partition);
    let mut features = history.map(History::columns);
    let mut rejected = Vec::new();
    let mut rejects = 0;
    for record in batch.records() {
        let content = record.content();
        let pushed = content.and_then(|value| {
            rows.push(coordinates(&record), value)?;
            Ok(value.unwrap_or_default())
        });
        match pushed {
            Ok(value) => {
                if let Some(columns) = &mut features {
                    columns.push(value);
                }
            }
            Err(reject) => {
                rejects += 1;
                metrics::counter!("tidemill_rejected_total", "reason" => reject.reason.code())
                    .increment(1);
                rejects::write(&mut rejected, &record, &reject)?;
            }
        }
    }
    let footer = |first, next, rows, rejected, gap| Footer {
        topic: topic.to_owned(),
        partition,
        first,
        next,
        rows,
        rejected,
        gap,
        schema: frozen.fingerprint.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let data = |footer: &Footer, rows: RecordBatch| -> anyhow::Result<File> {
        Ok(File {
            path: names::data(topic, partition, footer.first),
            bytes: parquet(footer, &rows, codec)?,
        })
    };
    let gap = match batch.gap {
        Some((from, to)) => {
            let (features, _) = finished(history.map(History::columns));
            let none = Rows::new(&frozen.schema, partition).finish(features)?;
            Some(data(&footer(from, to, 0, 0, true), none)?)
        }
        None => None,
    };
    let misfits = rows.misfits();
    let footer = footer(batch.first, batch.next, rows.len() as u64, rejects, false);
    let (features, unknown) = finished(features);
    metrics::counter!("tidemill_unknown_features_total").increment(unknown);
    let rows = rows.finish(features)?;
    let rejects = (!rejected.is_empty()).then(|| File {
        path: names::rejected(topic, partition, batch.first, batch.next),
        bytes: rejected.into(),
    });
    Ok(Encoded {
        data: data(&footer, rows)?,
        footer,
        gap,
        rejects,
        misfits,
    })
}

fn finished(columns: Option<Columns<'_>>) -> (Vec<ArrayRef>, u64) {
    columns.map(Columns::finish).unwrap_or_default()
}

fn coordinates<'a>(
    record: &Raw<'a>,
) -> Coordinates<'a, impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a>> {
    Coordinates {
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key,
        headers: record.headers(),
    }
}

/// One Parquet file of one row group.
fn parquet(footer: &Footer, rows: &RecordBatch, codec: Codec) -> anyhow::Result<Bytes> {
    let properties = WriterProperties::builder()
        .set_compression(codec.to_parquet()?)
        .set_created_by(concat!("tidemill version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(footer.to_key_values()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(None)
        .build();
    let options = ArrowWriterOptions::new()
        .with_properties(properties)
        .with_skip_arrow_metadata(true);
    let mut file = Vec::with_capacity(rows.num_rows() * 64);
    let write = |file: &mut Vec<u8>| {
        let mut writer = ArrowWriter::try_new_with_options(file, rows.schema(), options)?;
        writer.write(rows)?;
        writer.close()
    };
    write(&mut file).context("writing a Parquet file")?;
    Ok(file.into())
}

impl Codec {
    /// The codec of a flag's value.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "snappy" => Ok(Self::Snappy),
            "lz4" => Ok(Self::Lz4),
            "zstd" => Ok(Self::Zstd),
            _ => Err("use none, snappy, lz4 or zstd".into()),
        }
    }

    fn to_parquet(self) -> anyhow::Result<Compression> {
        Ok(match self {
            Self::None => Compression::UNCOMPRESSED,
            Self::Snappy => Compression::SNAPPY,
            Self::Lz4 => Compression::LZ4_RAW,
            Self::Zstd => Compression::ZSTD(ZstdLevel::try_new(1)?),
        })
    }
}
