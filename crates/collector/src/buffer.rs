//! The records of one partition since its last file, as they came, and the rule where a file ends.

use crate::json;
use std::collections::BTreeMap;
use std::ops::Range;
use tidemill_core::claim::{self, Content};
use tidemill_core::record::Reject;

/// A file ends with the record that brings its values to this many bytes: 64 MiB, a claim being as large as the object
/// that it stands for. More would be memory that one
/// partition takes from the others while gaining nothing in compression.
pub(crate) const FILE_BYTES: usize = 64 << 20;

/// Null, where a length is expected.
const NULL: u32 = u32::MAX;

/// Consecutive records of one partition: all that the log holds in [`first`, `next`).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Batch {
    /// The position before the first record.
    pub(crate) first: i64,
    /// The position after the last.
    pub(crate) next: i64,
    /// A stretch before `first` that retention had deleted before it could be read, [from, to).
    pub(crate) gap: Option<(i64, i64)>,
    entries: Vec<Entry>,
    /// Keys, values and headers, end to end.
    bytes: Vec<u8>,
    /// Bytes of values alone, and of what they claim.
    value_bytes: usize,
    /// Bytes of the objects that values claim.
    claimed: usize,
    /// Where claims stand among the entries.
    claims: Vec<usize>,
    /// What they stand for, by offset, once that was fetched.
    contents: BTreeMap<i64, Content>,
    /// Records and bytes to make room for with the first record; partitions at rest take no memory.
    expected: (usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    offset: i64,
    timestamp: Option<i64>,
    /// Where its bytes begin: key, value, headers.
    start: usize,
    key: u32,
    value: u32,
    headers: u32,
}

/// One record of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a> {
    /// Its offset.
    pub(crate) offset: i64,
    /// Its Kafka timestamp in milliseconds since the epoch.
    pub(crate) timestamp: Option<i64>,
    /// Its key.
    pub(crate) key: Option<&'a [u8]>,
    /// Its value.
    pub(crate) value: Option<&'a [u8]>,
    headers: &'a [u8],
    /// What its value stands for, of a claim.
    content: Option<&'a Content>,
}

impl Batch {
    /// No records yet, from `position` on.
    pub(crate) fn at(position: i64) -> Self {
        Self {
            first: position,
            next: position,
            ..Self::default()
        }
    }

    /// The batch after this one, which is expected to become as large as this one is.
    pub(crate) fn following(&self) -> Self {
        Self {
            expected: (self.entries.len(), self.bytes.len()),
            ..Self::at(self.next)
        }
    }

    /// Adds a record. Records before the position are none of this batch and are left out: `false`.
    pub(crate) fn push<'h>(
        &mut self,
        offset: i64,
        timestamp: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'h [u8], Option<&'h [u8]>)>,
    ) -> bool {
        if offset < self.next {
            return false;
        }
        if self.entries.is_empty() {
            self.entries.reserve(self.expected.0);
            self.bytes.reserve(self.expected.1);
        }
        let start = self.bytes.len();
        let key = self.append(key);
        let mut value_bytes = value.map_or(0, <[u8]>::len);
        if let Some(claimed) = value.and_then(claim::length) {
            // No file takes more, and a claim may say anything.
            let claimed = claimed.min(FILE_BYTES as u64) as usize;
            self.claims.push(self.entries.len());
            self.claimed += claimed;
            value_bytes += claimed;
        }
        let value = self.append(value);
        let headers_start = self.bytes.len();
        for (name, value) in headers {
            for part in [Some(name), value] {
                let length = part.map_or(NULL, |part| part.len() as u32);
                self.bytes.extend_from_slice(&length.to_le_bytes());
                self.bytes.extend_from_slice(part.unwrap_or_default());
            }
        }
        let headers = (self.bytes.len() - headers_start) as u32;
        self.entries.push(Entry {
            offset,
            timestamp,
            start,
            key,
            value,
            headers,
        });
        self.value_bytes += value_bytes;
        self.next = offset + 1;
        true
    }

    /// Kafka's sizes are 32 bits with a sign, so that the length of nothing differs from all others.
    fn append(&mut self, part: Option<&[u8]>) -> u32 {
        self.bytes.extend_from_slice(part.unwrap_or_default());
        part.map_or(NULL, |part| part.len() as u32)
    }

    /// A file ends here: it has `rows` records, or 64 MiB of values. A function of the log alone, so that whoever
    /// reads it from the same position cuts the same files.
    pub(crate) fn is_full(&self, rows: usize) -> bool {
        self.entries.len() >= rows || self.value_bytes >= FILE_BYTES
    }

    /// There are no records.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Some record is a JSON object, so that a schema can be inferred.
    pub(crate) fn has_object(&self) -> bool {
        let mut members = Vec::new();
        self.records().any(|record| {
            let text = std::str::from_utf8(record.value.unwrap_or_default());
            text.is_ok_and(|text| json::members(text, &mut members).is_ok())
        })
    }

    /// Memory that it takes, in bytes, with the objects that it claims.
    pub(crate) fn footprint(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>() + self.claimed
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

    /// Takes what the claims stand for, by offset.
    pub(crate) fn resolved(&mut self, contents: BTreeMap<i64, Content>) {
        self.contents = contents;
    }

    fn raw(&self, entry: &Entry) -> Raw<'_> {
        let key = part(entry.start, entry.key);
        let value = entry.start + length(entry.key);
        let headers = value + length(entry.value);
        Raw {
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: key.map(|range| &self.bytes[range]),
            value: part(value, entry.value).map(|range| &self.bytes[range]),
            headers: &self.bytes[headers..headers + entry.headers as usize],
            content: self.contents.get(&entry.offset),
        }
    }
}

fn length(length: u32) -> usize {
    if length == NULL { 0 } else { length as usize }
}

fn part(start: usize, length: u32) -> Option<Range<usize>> {
    (length != NULL).then(|| start..start + length as usize)
}

impl<'a> Raw<'a> {
    /// The bytes to decode: its value, or what that stands for.
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

    fn push(batch: &mut Batch, offset: i64, (_, timestamp, key, value, headers): &Owned) -> bool {
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
            let log: Vec<(i64, Owned)> =
                log.into_iter().map(|record| { offset += record.0; (offset, record) }).collect();
            let mut batches = vec![Batch::at(10)];
            for (offset, record) in &log {
                let batch = batches.last_mut().unwrap();
                prop_assert!(push(batch, *offset, record));
                prop_assert!(!push(batch, *offset, record), "the same record a second time");
                if batch.is_full(rows) {
                    let following = batch.following();
                    batches.push(following);
                }
            }
            for pair in batches.windows(2) {
                prop_assert_eq!(pair[0].next, pair[1].first);
                prop_assert_eq!(pair[0].records().count(), rows);
            }
            let found: Vec<(i64, Owned)> = batches.iter().flat_map(Batch::records).map(|raw| {
                let headers = raw.headers().map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)));
                let owned = (0, raw.timestamp, raw.key.map(<[u8]>::to_vec), raw.value.map(<[u8]>::to_vec), headers.collect());
                (raw.offset, owned)
            }).collect();
            let expected: Vec<(i64, Owned)> =
                log.into_iter().map(|(offset, record)| (offset, (0, record.1, record.2, record.3, record.4))).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn large_values_end_a_file_by_their_size() {
        let mut batch = Batch::at(0);
        let value = vec![b'x'; FILE_BYTES / 2];
        assert!(batch.push(0, None, Some(&value), Some(&value), std::iter::empty()));
        assert!(!batch.is_full(10_000), "keys do not count");
        assert!(batch.push(1, None, None, Some(&value), std::iter::empty()));
        assert!(batch.is_full(10_000) && batch.footprint() >= FILE_BYTES);
    }

    #[test]
    fn claims_are_as_large_as_what_they_stand_for() {
        let claim = |length: u64| {
            format!(r#"{{"$claim":{{"path":"p","length":{length},"sha256":""}}}}"#).into_bytes()
        };
        let mut batch = Batch::at(0);
        for (offset, value) in [
            claim(FILE_BYTES as u64 / 2),
            b"{}".to_vec(),
            claim(u64::MAX),
        ]
        .iter()
        .enumerate()
        {
            assert!(!batch.is_full(10), "before record {offset}");
            assert!(batch.push(offset as i64, None, None, Some(value), std::iter::empty()));
        }
        assert!(batch.is_full(10) && batch.footprint() > FILE_BYTES);
        let claims: Vec<i64> = batch.claims().map(|claim| claim.offset).collect();
        assert_eq!(claims, [0, 2]);
        batch.resolved(BTreeMap::from([(
            0,
            Content::Object(b"{\"a\":1}".to_vec()),
        )]));
        let first = batch.records().next().unwrap();
        assert_eq!(first.content(), Ok(Some(b"{\"a\":1}".as_slice())));
        assert_eq!(first.value, Some(claim(FILE_BYTES as u64 / 2).as_slice()));
    }
}
