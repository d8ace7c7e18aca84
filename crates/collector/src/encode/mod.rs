//! A batch as the bytes of its files: the same records, schema and version always give the same bytes.

pub(crate) mod columns;
pub(crate) mod frozen;
#[cfg(test)]
mod fuzz;
pub(crate) mod json;
pub(crate) mod sampling;
pub(crate) mod schema;
mod table;
mod usable;

use crate::dataset::footer::Footer;
use crate::dataset::topic::Topic;
use crate::dataset::{names, rejects, seal};
use crate::encode::columns::Coordinates;
use crate::encode::frozen::Frozen;
use crate::features::History;
use crate::pipeline::batch::{Batch, Raw};
use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use std::collections::BTreeMap;
use table::Table;
use tidemill_core::record::Reason;

/// The compression of a file's columns.
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
    /// The records that could not become rows.
    pub(crate) rejects: Option<File>,
    /// The rows.
    pub(crate) data: File,
    /// The number of those by reason.
    pub(crate) reasons: BTreeMap<Reason, u64>,
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
    topic: &Topic,
    partition: i32,
    batch: Batch,
    frozen: &Frozen,
    codec: Codec,
    history: Option<&History>,
) -> anyhow::Result<Encoded> {
    let mut table = Table::open(frozen, partition, codec, history)?;
    let mut rejected = Vec::new();
    let mut reasons = BTreeMap::new();
    for record in batch.records() {
        let content = record.content();
        let pushed = content.and_then(|value| table.push(coordinates(&record), value));
        if let Err(reject) = pushed {
            *reasons.entry(reject.reason).or_default() += 1;
            rejects::write(&mut rejected, &record, &reject)?;
        }
        table.write_if_full()?;
    }
    let footer = Footer {
        topic: topic.name.to_string(),
        topic_id: topic.id,
        partition,
        first: batch.first(),
        next: batch.next(),
        last: batch.last(),
        rows: table.rows(),
        rejected: reasons.values().sum(),
        rejects: (!rejected.is_empty()).then(|| seal::hex(&rejected)),
        misfits: table.misfits(),
        unknown: table.unknown(),
        gap: batch.is_gap(),
        schema: frozen.fingerprint.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    // Its records take as much as the file will.
    drop(batch);
    let rejects = footer.rejects.is_some().then(|| File {
        path: names::rejected(&topic.name, partition, footer.first, footer.next),
        bytes: rejected.into(),
    });
    let data = File {
        path: names::data(&topic.name, partition, footer.first),
        bytes: table.finish(&footer)?,
    };
    Ok(Encoded {
        footer,
        rejects,
        data,
        reasons,
    })
}

fn coordinates<'a>(
    record: &Raw<'a>,
) -> Coordinates<'a, impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a>> {
    Coordinates {
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key,
        headers: record.headers(),
    }
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
