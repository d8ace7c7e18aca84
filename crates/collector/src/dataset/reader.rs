//! Reading data files back: their footers, and all that is in them.

use crate::dataset::damage::damaged;
use crate::dataset::footer::Footer;
use crate::dataset::seal;
use crate::dataset::store::Store;
use anyhow::{Context, bail, ensure};
use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaDataReader;
use std::panic::catch_unwind;

/// Read from the end of a file before its whole: enough for the footers of some hundred columns.
const TAIL: u64 = 64 << 10;

/// The footer of a file that is at hand.
pub(crate) fn footer(file: &Bytes) -> anyhow::Result<Footer> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(file);
    let metadata = metadata.context("not a whole Parquet file")?;
    Footer::from_key_values(metadata.file_metadata().key_value_metadata())
}

/// The footer of a file in the data set, by its end alone where that will do.
///
/// Errors: the store does not answer, or the file is damaged, which is a usage failure.
pub(crate) async fn read_footer(store: &Store, path: &str) -> anyhow::Result<Footer> {
    let (tail, size) = store.tail(path, TAIL).await?;
    let mut reader = ParquetMetaDataReader::new();
    let metadata = reader.try_parse_sized(&tail, size);
    let footer = match metadata.and_then(|()| reader.finish()) {
        Ok(metadata) => Footer::from_key_values(metadata.file_metadata().key_value_metadata()),
        Err(_) => footer(&store.read(path).await?),
    };
    footer.map_err(|cause| damaged(store, path, cause))
}

/// Footer and rows of a file that is at hand; the whole is held against its digest and decoded.
pub(crate) fn rows(file: Bytes) -> anyhow::Result<(Footer, Vec<RecordBatch>)> {
    let own = footer(&file)?;
    seal::check(&file)?;
    // The library panics at some damage to a file, in more places than could be looked at beforehand.
    let batches = catch_unwind(|| decode(file));
    let batches = batches.unwrap_or_else(|_| bail!("the file is damaged: it cannot be decoded"))?;
    let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
    ensure!(
        count as u64 == own.rows,
        "the footer tells of {} rows, there are {count}",
        own.rows
    );
    Ok((own, batches))
}

fn decode(file: Bytes) -> anyhow::Result<Vec<RecordBatch>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?.build()?;
    Ok(reader.collect::<Result<_, _>>()?)
}
