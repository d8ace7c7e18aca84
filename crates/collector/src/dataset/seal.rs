//! Seals a finished Parquet file, so that no byte of it can change unnoticed: a checksum in each page's header, which
//! any reader can check, and a digest of the whole file in its footer.
//!
//! The digest is the SHA-256 of the file with the digest's own 64 characters taken as zeros. The Parquet library
//! checks pages' checksums but does not write them, which is why the pages are copied here.

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataBuilder,
    ParquetMetaDataReader, ParquetMetaDataWriter,
};
use sha2::{Digest, Sha256};

/// The footer's key of the digest; the last of its keys.
const DIGEST: &str = "tidemill.digest";

/// The placeholder of the digest while it is computed.
const ZEROS: [u8; 64] = [b'0'; 64];

/// The first and last bytes of every Parquet file.
const MAGIC: &[u8] = b"PAR1";

/// Thrift's header of a field that is an `i32` and has the number after the last one's.
const NEXT_I32: u8 = 0x15;

/// Thrift's type of a field that is a struct.
const STRUCT: u8 = 0x0c;

/// Only a change of the Parquet library could lead to it.
const STRANGE: &str = "the Parquet library wrote a page of a kind that is not known here";

/// A page's sizes before and after its header took the checksum.
#[derive(Clone, Copy)]
struct Grown {
    before: usize,
    after: usize,
}

/// The file with checksums and digest. It must be as our writers make it: without indexes and bloom filters.
pub(crate) fn seal(file: &Bytes) -> anyhow::Result<Bytes> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(file)?;
    let mut sealed = Vec::with_capacity(file.len() + file.len() / 64 + 1024);
    sealed.extend(MAGIC);
    let mut groups = Vec::with_capacity(metadata.num_row_groups());
    for group in metadata.row_groups() {
        let start = sealed.len() as i64;
        let mut columns = Vec::with_capacity(group.num_columns());
        let mut growth = 0;
        for column in group.columns() {
            let (column, grown) = seal_column(file, column, &mut sealed)?;
            growth += grown;
            columns.push(column);
        }
        let size = group.total_byte_size() + growth;
        let builder = group.clone().into_builder().set_column_metadata(columns);
        let builder = builder.set_total_byte_size(size).set_file_offset(start);
        groups.push(builder.build()?);
    }
    let footer = ParquetMetaDataBuilder::new(with_digest(&metadata)).set_row_groups(groups);
    ParquetMetaDataWriter::new(&mut sealed, &footer.build()).finish()?;
    let at = digest_at(&sealed).context("the footer has no place for the digest")?;
    let digest = hex(&sealed);
    sealed[at..at + ZEROS.len()].copy_from_slice(digest.as_bytes());
    Ok(sealed.into())
}

/// Errors: a byte of the file is not as it was written, or it was never sealed.
pub(crate) fn check(file: &[u8]) -> anyhow::Result<()> {
    let at = digest_at(file).with_context(|| format!("its footer has no {DIGEST}"))?;
    let mut digest = Sha256::new();
    digest.update(&file[..at]);
    digest.update(ZEROS);
    digest.update(&file[at + ZEROS.len()..]);
    ensure!(
        file[at..at + ZEROS.len()] == *text(digest).as_bytes(),
        "its bytes are not those that were written: they differ from the digest in its footer"
    );
    Ok(())
}

/// The SHA-256 of some bytes, in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    text(Sha256::new_with_prefix(bytes))
}

fn text(digest: Sha256) -> String {
    let digest = digest.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn with_digest(metadata: &ParquetMetaData) -> FileMetaData {
    let file = metadata.file_metadata();
    let mut pairs = file.key_value_metadata().cloned().unwrap_or_default();
    let zeros = String::from_utf8_lossy(&ZEROS).into_owned();
    pairs.push(KeyValue::new(DIGEST.to_owned(), zeros));
    FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        Some(pairs),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    )
}

/// The place of the digest: behind its key and its length, as Thrift's compact protocol writes them. The footer is the
/// last part of a file and the digest its last pair, so that nothing a record holds can be taken for it.
fn digest_at(file: &[u8]) -> Option<usize> {
    let mut before = DIGEST.as_bytes().to_vec();
    before.extend([0x18, ZEROS.len() as u8]);
    let mut places = file.windows(before.len()).rev();
    let from_end = places.position(|window| window == before)?;
    let at = file.len() - from_end;
    (at + ZEROS.len() <= file.len()).then_some(at)
}

/// Copies a column's pages, each with its checksum; the column's metadata as it is then, and by how much it grew.
fn seal_column(
    file: &[u8],
    column: &ColumnChunkMetaData,
    sealed: &mut Vec<u8>,
) -> anyhow::Result<(ColumnChunkMetaData, i64)> {
    let (start, length) = column.byte_range();
    let (mut at, end) = (start as usize, (start + length) as usize);
    let place = sealed.len() as i64;
    let mut sizes = Vec::new();
    while at < end {
        let page = file.get(at..end).context("a column ends beyond its file")?;
        let grown = seal_page(page, sealed)?;
        at += grown.before;
        sizes.push(grown);
    }
    let dictionary = column.dictionary_page_offset();
    // The dictionary comes first, where there is one.
    let data = match dictionary {
        Some(_) => place + sizes.first().map_or(0, |first| first.after as i64),
        None => place,
    };
    let growth: usize = sizes.iter().map(|grown| grown.after - grown.before).sum();
    let growth = growth as i64;
    let builder = column
        .clone()
        .into_builder()
        .set_dictionary_page_offset(dictionary.map(|_| place))
        .set_data_page_offset(data)
        .set_total_compressed_size(column.compressed_size() + growth)
        .set_total_uncompressed_size(column.uncompressed_size() + growth);
    Ok((builder.build()?, growth))
}

/// Copies the page at the start of `pages`, with its checksum.
///
/// Its header is a Thrift struct in the compact protocol: type, size and compressed size (fields 1 to 3), then a
/// struct that depends on the type (field 5, 7 or 8). The checksum of the compressed bytes is field 4.
fn seal_page(pages: &[u8], sealed: &mut Vec<u8>) -> anyhow::Result<Grown> {
    let mut rest = pages;
    let mut compressed = 0;
    for _ in 0..3 {
        rest = rest.strip_prefix(&[NEXT_I32]).context(STRANGE)?;
        (compressed, rest) = varint(rest)?;
    }
    let sizes = &pages[..pages.len() - rest.len()];
    let (&next, special) = rest.split_first().context(STRANGE)?;
    ensure!(next & 0x0f == STRUCT && next >> 4 >= 2, STRANGE);
    let data = skip_struct(skip_struct(special)?)?;
    let special = &special[..special.len() - data.len()];
    // Signed numbers are written zigzag.
    let data = data.get(..(compressed >> 1) as usize).context(STRANGE)?;
    let checksum = crc32fast::hash(data).cast_signed();
    let start = sealed.len();
    sealed.extend(sizes);
    sealed.push(NEXT_I32);
    push_varint(sealed, ((checksum << 1) ^ (checksum >> 31)).cast_unsigned());
    // A field's header says how far its number is from the one before it.
    sealed.push(next - 0x10);
    sealed.extend(special);
    sealed.extend(data);
    Ok(Grown {
        before: sizes.len() + 1 + special.len() + data.len(),
        after: sealed.len() - start,
    })
}

/// The bytes after a struct. Knows only the types of fields that page headers have.
fn skip_struct(mut bytes: &[u8]) -> anyhow::Result<&[u8]> {
    loop {
        let (&field, rest) = bytes.split_first().context(STRANGE)?;
        bytes = match (field >> 4, field & 0x0f) {
            (0, 0) => return Ok(rest),
            (0, _) => bail!(STRANGE),
            (_, 1 | 2) => rest,
            (_, 3..=6) => varint(rest)?.1,
            (_, 8) => {
                let (length, text) = varint(rest)?;
                text.get(length as usize..).context(STRANGE)?
            }
            (_, STRUCT) => skip_struct(rest)?,
            _ => bail!(STRANGE),
        };
    }
}

fn varint(bytes: &[u8]) -> anyhow::Result<(u64, &[u8])> {
    let mut value = 0;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[place + 1..]));
        }
    }
    bail!(STRANGE)
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::basic::Compression;
    use parquet::file::properties::{EnabledStatistics, WriterProperties};
    use std::sync::Arc;

    /// Two columns, one with a dictionary, in several pages and two row groups.
    fn written(compression: Compression) -> (RecordBatch, Bytes) {
        let numbers = Arc::new(Int64Array::from_iter(
            (0..3_000).map(|n| (n % 7 > 0).then_some(n)),
        ));
        let texts = BinaryArray::from_iter_values((0..3_000).map(|n| format!("text {}", n % 5)));
        let columns = [("n", numbers as ArrayRef), ("t", Arc::new(texts))];
        let rows =
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, own)| (name, own, true)));
        let rows = rows.unwrap();
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_data_page_row_count_limit(700)
            .set_write_batch_size(100)
            .set_max_row_group_row_count(Some(2_000))
            .set_column_dictionary_enabled("n".into(), false)
            .set_key_value_metadata(Some(vec![KeyValue::new("k".to_owned(), "v".to_owned())]))
            .build();
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, rows.schema(), Some(properties)).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        (rows, file.into())
    }

    fn read(file: Bytes) -> anyhow::Result<RecordBatch> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
        let schema = reader.schema().clone();
        let batches: Result<Vec<_>, _> = reader.build()?.collect();
        Ok(arrow::compute::concat_batches(&schema, &batches?)?)
    }

    #[test]
    fn a_sealed_file_reads_as_before_and_says_its_digest() {
        for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
            let (rows, file) = written(compression);
            let sealed = seal(&file).unwrap();
            assert_eq!(sealed, seal(&file).unwrap());
            check(&sealed).unwrap();
            assert!(check(&file).is_err());
            assert_eq!(read(sealed.clone()).unwrap().columns(), rows.columns());
            let [before, after] = [file, sealed].map(|file| {
                ParquetMetaDataReader::new()
                    .parse_and_finish(&file)
                    .unwrap()
            });
            assert_eq!(before.num_row_groups(), 2);
            let pairs = after.file_metadata().key_value_metadata().unwrap();
            assert_eq!(
                (pairs[0].key.as_str(), pairs.last().unwrap().key.as_str()),
                ("k", DIGEST)
            );
            for (before, after) in before.row_groups().iter().zip(after.row_groups()) {
                let sum: i64 = after
                    .columns()
                    .iter()
                    .map(ColumnChunkMetaData::uncompressed_size)
                    .sum();
                assert_eq!(
                    (after.total_byte_size(), after.num_rows()),
                    (sum, before.num_rows())
                );
                for (before, after) in before.columns().iter().zip(after.columns()) {
                    assert_eq!(before.statistics(), after.statistics());
                    assert!(after.compressed_size() > before.compressed_size());
                }
            }
        }
    }

    /// The reader checks the pages' own checksums, whatever the digest says.
    #[test]
    fn a_changed_page_is_refused_by_readers_too() {
        let (rows, file) = written(Compression::UNCOMPRESSED);
        let needle = b"text 3";
        for (file, caught) in [(file.clone(), false), (seal(&file).unwrap(), true)] {
            let at = file
                .windows(needle.len())
                .position(|found| found == needle)
                .unwrap();
            let mut changed = file.to_vec();
            changed[at] ^= 0x20;
            match read(changed.into()) {
                Ok(read) => assert!(!caught && read.columns() != rows.columns()),
                Err(error) => assert!(caught && error.to_string().contains("CRC"), "{error}"),
            }
        }
    }

    #[test]
    fn no_byte_can_change_or_go_unnoticed() {
        let sealed = seal(&written(Compression::SNAPPY).1).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[at] ^= 1 << (at % 8);
            assert!(check(&changed).is_err(), "byte {at} of {}", sealed.len());
        }
        for length in 0..sealed.len() {
            assert!(check(&sealed[..length]).is_err(), "cut to {length}");
        }
    }
}
