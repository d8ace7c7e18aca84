//! The records of one partition since its last file, as they came, and the rule where a file ends; or a gap among them.

use crate::dataset::offset::Offset;
use std::collections::BTreeMap;
use std::ops::Range;
use tidemill_core::claim::{self, Content};
use tidemill_core::kafka::fingerprint;
use tidemill_core::record::Reject;

/// A file ends with the record that brings what is kept of its records to this many bytes: 64 MiB of keys, values and,
/// where there is a column for them, headers; a claim is as large as the object that it names. More would be memory
/// that one partition takes from the others while gaining nothing in compression.
pub(crate) const FILE_BYTES: usize = 64 << 20;

/// A record counts as so many bytes more than what is kept of it, so that records without any end a file too.
const RECORD: usize = size_of::<Entry>();

/// The capacities of a batch's first block and of its largest, in bytes: partitions at rest take little, and full ones
/// are made of equal pieces that the allocator can use again.
const BLOCK: (usize, usize) = (16 << 10, 1 << 20);

/// Null, where a length is expected.
const NULL: u32 = u32::MAX;

/// Consecutive records of one partition: all that the log holds in [`first`, `next`). Nothing at all where retention has
/// deleted them before they could be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Batch {
    first: Offset,
    next: Offset,
    entries: Vec<Entry>,
    /// Keys, values and headers, end to end; those of a record lie in one block.
    blocks: Vec<Vec<u8>>,
    /// Bytes that count for the end of the file.
    size: usize,
    /// The largest record among them.
    largest: usize,
    /// Memory of the blocks, and bytes of the objects that values claim.
    held: usize,
    /// Indexes of the entries that are claims.
    claims: Vec<usize>,
    /// The claimed objects by offset, once they are fetched.
    contents: BTreeMap<Offset, Content>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    offset: Offset,
    timestamp: Option<i64>,
    /// The place of its bytes: key, value, headers.
    block: u32,
    start: u32,
    key: u32,
    value: u32,
    headers: u32,
}

/// One record of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a> {
    /// Its offset.
    pub(crate) offset: Offset,
    /// Its Kafka timestamp in milliseconds since the epoch.
    pub(crate) timestamp: Option<i64>,
    /// Its key.
    pub(crate) key: Option<&'a [u8]>,
    /// Its value.
    pub(crate) value: Option<&'a [u8]>,
    headers: &'a [u8],
    /// The claimed object, if its value is a claim.
    content: Option<&'a Content>,
}

impl Batch {
    /// No records yet, from `position` on.
    pub(crate) fn at(position: Offset) -> Self {
        Self {
            first: position,
            next: position,
            ..Self::default()
        }
    }

    /// The offsets that retention had deleted before they could be read.
    pub(crate) fn gap(offsets: Range<Offset>) -> Self {
        Self {
            first: offsets.start,
            next: offsets.end,
            ..Self::default()
        }
    }

    /// The position before the first record.
    pub(crate) fn first(&self) -> Offset {
        self.first
    }

    /// The position after the last.
    pub(crate) fn next(&self) -> Offset {
        self.next
    }

    /// It covers offsets whose records are deleted.
    pub(crate) fn is_gap(&self) -> bool {
        self.is_empty() && self.first < self.next
    }

    /// Adds a record. Records before the position are none of this batch and are left out: `false`.
    pub(crate) fn push<'h>(
        &mut self,
        offset: Offset,
        timestamp: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'h [u8], Option<&'h [u8]>)>,
    ) -> bool {
        if offset < self.next {
            return false;
        }
        let mut size = RECORD + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
        if let Some(claimed) = value.and_then(claim::length) {
            // No file takes more, and a claim may say anything.
            let claimed = claimed.min(FILE_BYTES as u64) as usize;
            self.claims.push(self.entries.len());
            self.held += claimed;
            size += claimed;
        }
        let number = self.room_for(size);
        let block = &mut self.blocks[number];
        let (start, capacity) = (block.len(), block.capacity());
        let key = append(block, key);
        let value = append(block, value);
        let headers_start = block.len();
        for (name, value) in headers {
            for part in [Some(name), value] {
                let length = part.map_or(NULL, |part| part.len() as u32);
                block.extend_from_slice(&length.to_le_bytes());
                block.extend_from_slice(part.unwrap_or_default());
            }
        }
        let headers = block.len() - headers_start;
        size += headers;
        // Headers are found to be larger than the block only now.
        self.held += block.capacity() - capacity;
        self.entries.push(Entry {
            offset,
            timestamp,
            block: number as u32,
            start: start as u32,
            key,
            value,
            headers: headers as u32,
        });
        self.size += size;
        self.largest = self.largest.max(size);
        self.next = offset.next();
        true
    }

    /// The block for the next record.
    fn room_for(&mut self, size: usize) -> usize {
        let last = self.blocks.last();
        let room = last.map_or(0, |last| last.capacity() - last.len());
        if room < size {
            let double = last.map_or(BLOCK.0, |last| 2 * last.capacity());
            let capacity = double.min(BLOCK.1).max(size);
            self.blocks.push(Vec::with_capacity(capacity));
            self.held += capacity;
        }
        self.blocks.len() - 1
    }

    /// A file ends here: it has `rows` records, or 64 MiB. A function of the log alone, so that whoever reads it from the
    /// same position cuts the same files.
    pub(crate) fn is_full(&self, rows: usize) -> bool {
        self.entries.len() >= rows || self.size >= FILE_BYTES
    }

    /// Bytes that it takes until its file is full, if no record is larger than the largest so far.
    pub(crate) fn left(&self, rows: usize) -> usize {
        let records = rows.saturating_sub(self.entries.len());
        let by_size = FILE_BYTES.saturating_sub(self.size) + self.largest;
        by_size.min(records.saturating_mul(self.largest))
    }

    /// There are no records.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Memory that it takes, in bytes, with the objects that it claims.
    pub(crate) fn footprint(&self) -> usize {
        self.held + self.entries.capacity() * RECORD
    }

    /// The fingerprint of the last record.
    pub(crate) fn last(&self) -> Option<u64> {
        let last = self.raw(self.entries.last()?);
        Some(fingerprint(last.timestamp, last.key, last.value))
    }

    /// The records, in their order.
    pub(crate) fn records(&self) -> impl Iterator<Item = Raw<'_>> {
        self.entries.iter().map(|entry| self.raw(entry))
    }

    /// The records whose values are claims.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Raw<'_>> {
        self.claims
            .iter()
            .map(|place| self.raw(&self.entries[*place]))
    }

    /// Takes the objects that the claims name, by offset.
    pub(crate) fn resolved(&mut self, contents: BTreeMap<Offset, Content>) {
        self.contents = contents;
    }

    fn raw(&self, entry: &Entry) -> Raw<'_> {
        let bytes = &self.blocks[entry.block as usize];
        let start = entry.start as usize;
        let key = part(start, entry.key);
        let value = start + length(entry.key);
        let headers = value + length(entry.value);
        Raw {
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: key.map(|range| &bytes[range]),
            value: part(value, entry.value).map(|range| &bytes[range]),
            headers: &bytes[headers..headers + entry.headers as usize],
            content: self.contents.get(&entry.offset),
        }
    }
}

/// Kafka's sizes are 32 bits with a sign, so that the length of nothing differs from all others.
fn append(block: &mut Vec<u8>, part: Option<&[u8]>) -> u32 {
    block.extend_from_slice(part.unwrap_or_default());
    part.map_or(NULL, |part| part.len() as u32)
}

fn length(length: u32) -> usize {
    if length == NULL { 0 } else { length as usize }
}

fn part(start: usize, length: u32) -> Option<Range<usize>> {
    (length != NULL).then(|| start..start + length as usize)
}

impl<'a> Raw<'a> {
    /// The bytes to decode: its value, or the object that it names.
    pub(crate) fn content(&self) -> Result<Option<&'a [u8]>, Reject> {
        self.content
            .map_or(Ok(self.value), |content| content.of(self.value))
    }

    /// Its headers, in their order: a name, any bytes, and a value, which may be null.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut rest = self.headers;
        let mut take = move || -> Option<Option<&'a [u8]>> {
            let (size, after) = rest.split_first_chunk()?;
            let size = u32::from_le_bytes(*size);
            let (part, after) = after.split_at_checked(length(size))?;
            rest = after;
            Some((size != NULL).then_some(part))
        };
        std::iter::from_fn(move || Some((take()??, take()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (
        i64,
        Option<i64>,
        Option<Vec<u8>>,
        Option<Vec<u8>>,
        Vec<(Vec<u8>, Option<Vec<u8>>)>,
    );

    fn record() -> impl Strategy<Value = Owned> {
        let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..20));
        let name = prop::collection::vec(any::<u8>(), 0..4);
        let headers = prop::collection::vec((name, bytes()), 0..3);
        (
            1..4_i64,
            prop::option::of(any::<i64>()),
            bytes(),
            bytes(),
            headers,
        )
    }

    fn push(
        batch: &mut Batch,
        offset: Offset,
        (_, timestamp, key, value, headers): &Owned,
    ) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_deref()));
        batch.push(
            offset,
            *timestamp,
            key.as_deref(),
            value.as_deref(),
            headers,
        )
    }

    proptest! {
        #[test]
        fn batches_partition_the_log_and_give_records_back(
            log in prop::collection::vec(record(), 0..60),
            rows in 1..9_usize,
        ) {
            // Offsets with holes, as compaction and transactions leave them.
            let mut offset = 9;
            let log: Vec<(Offset, Owned)> =
                log.into_iter().map(|record| { offset += record.0; (offset.into(), record) }).collect();
            let mut batches = vec![Batch::at(10.into())];
            for (offset, record) in &log {
                let batch = batches.last_mut().unwrap();
                prop_assert!(push(batch, *offset, record));
                prop_assert!(!push(batch, *offset, record), "the same record a second time");
                if batch.is_full(rows) {
                    let next = batch.next;
                    batches.push(Batch::at(next));
                }
            }
            for pair in batches.windows(2) {
                prop_assert_eq!(pair[0].next, pair[1].first);
                prop_assert_eq!(pair[0].records().count(), rows);
            }
            let found: Vec<(Offset, Owned)> = batches.iter().flat_map(Batch::records).map(|raw| {
                let headers = raw.headers().map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)));
                let owned = (0, raw.timestamp, raw.key.map(<[u8]>::to_vec), raw.value.map(<[u8]>::to_vec), headers.collect());
                (raw.offset, owned)
            }).collect();
            let expected: Vec<(Offset, Owned)> =
                log.into_iter().map(|(offset, record)| (offset, (0, record.1, record.2, record.3, record.4))).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn all_that_is_kept_of_records_ends_a_file_by_its_size() {
        let half = vec![b'x'; FILE_BYTES / 2];
        let none = || std::iter::empty();
        let header = || std::iter::once((b"h".as_slice(), Some(half.as_slice())));
        for part in 0..3 {
            let mut batch = Batch::at(0.into());
            for offset in 0..2 {
                assert!(!batch.is_full(10_000));
                assert!(match part {
                    0 => batch.push(offset.into(), None, Some(&half), None, none()),
                    1 => batch.push(offset.into(), None, None, Some(&half), none()),
                    _ => batch.push(offset.into(), None, None, None, header()),
                });
            }
            assert!(batch.is_full(10_000), "{part}");
            assert!((FILE_BYTES..FILE_BYTES + (1 << 20)).contains(&batch.footprint()));
        }
        let mut batch = Batch::at(0.into());
        let records = FILE_BYTES / RECORD;
        let pushed = (0_i64..).take_while(|offset| {
            !batch.is_full(usize::MAX) && batch.push((*offset).into(), None, None, None, none())
        });
        assert_eq!(pushed.count(), records + 1, "records without anything");
    }

    #[test]
    fn what_a_file_still_takes_follows_from_its_records() {
        let mut batch = Batch::at(0.into());
        assert_eq!(batch.left(10), 0, "nothing is known yet");
        let push = |batch: &mut Batch, offset: i64, size: usize| {
            let value = vec![b'x'; size - RECORD];
            assert!(batch.push(offset.into(), None, None, Some(&value), std::iter::empty()));
        };
        push(&mut batch, 0, 1_000);
        push(&mut batch, 1, 500);
        assert_eq!(batch.left(10), 8 * 1_000);
        assert_eq!(batch.left(usize::MAX), FILE_BYTES - 500);
        assert_eq!(batch.left(2), 0);
    }

    #[test]
    fn partitions_at_rest_take_little_and_full_ones_what_they_hold() {
        let mut batch = Batch::at(0.into());
        let value = [b'x'; 100];
        for offset in 0..10_000 {
            if offset == 1 {
                assert!(batch.footprint() < 20 << 10, "{}", batch.footprint());
            }
            batch.push(offset.into(), None, None, Some(&value), std::iter::empty());
        }
        let held = 10_000 * (100 + RECORD);
        assert!((held..held + held / 2).contains(&batch.footprint()));
    }

    #[test]
    fn claims_are_as_large_as_what_they_stand_for() {
        let claim = |length: u64| {
            format!(r#"{{"$claim":{{"path":"p","length":{length},"sha256":""}}}}"#).into_bytes()
        };
        let mut batch = Batch::at(0.into());
        for (offset, value) in [
            claim(FILE_BYTES as u64 / 2),
            b"{}".to_vec(),
            claim(u64::MAX),
        ]
        .iter()
        .enumerate()
        {
            assert!(!batch.is_full(10), "before record {offset}");
            assert!(batch.push(
                (offset as i64).into(),
                None,
                None,
                Some(value),
                std::iter::empty()
            ));
        }
        assert!(batch.is_full(10) && batch.footprint() > FILE_BYTES);
        let claims: Vec<Offset> = batch.claims().map(|claim| claim.offset).collect();
        assert_eq!(claims, [0, 2].map(Offset::from));
        batch.resolved(BTreeMap::from([(
            0.into(),
            Content::Object(b"{\"a\":1}".to_vec()),
        )]));
        let first = batch.records().next().unwrap();
        assert_eq!(first.content(), Ok(Some(b"{\"a\":1}".as_slice())));
        assert_eq!(first.value, Some(claim(FILE_BYTES as u64 / 2).as_slice()));
    }
}
