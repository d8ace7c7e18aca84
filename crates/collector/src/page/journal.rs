//! The files that this process has published: the last of each partition and of all, and what was odd in them.

use crate::dataset::Footer;
use crate::dataset::offset::Offset;
use crate::encode::columns::Misfits;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tidemill_core::record::Reason;

/// Files kept of a partition, for its line, and of all partitions together, for the list.
const OF_PARTITION: usize = 40;
const LAST: usize = 20;

/// One published file.
#[derive(Clone, Debug, Serialize)]
struct File {
    path: String,
    partition: i32,
    first: Offset,
    next: Offset,
    rows: u64,
    rejected: u64,
    /// True if retention had deleted the records.
    gap: bool,
    bytes: usize,
    /// Epoch milliseconds.
    published: i64,
}

/// A partition since the start of the process.
#[derive(Debug, Serialize)]
struct Line {
    /// The position before the first file.
    from: Offset,
    /// The position after the last.
    next: Offset,
    files: u64,
    rows: u64,
    rejected: u64,
    last: VecDeque<File>,
}

/// What is noted of all files.
#[derive(Debug, Default, Serialize)]
struct Notes {
    partitions: BTreeMap<i32, Line>,
    last: VecDeque<File>,
    reasons: BTreeMap<&'static str, u64>,
    misfits: Misfits,
    /// The schema's fingerprint and columns, once there is a file.
    schema: Option<(String, Value)>,
}

/// The notes that all lanes of a process write to.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<Notes>);

impl Journal {
    /// Notes a file that was published at `now` (epoch ms) under `path`, with so many bytes and rejects.
    pub(crate) fn published(
        &self,
        footer: &Footer,
        (path, bytes): (&str, usize),
        reasons: &BTreeMap<Reason, u64>,
        now: i64,
    ) {
        let file = File {
            path: path.to_owned(),
            partition: footer.partition,
            first: footer.first,
            next: footer.next,
            rows: footer.rows,
            rejected: footer.rejected,
            gap: footer.gap,
            bytes,
            published: now,
        };
        let mut notes = self.notes();
        let line = notes.partitions.entry(file.partition).or_insert(Line {
            from: file.first,
            next: file.first,
            files: 0,
            rows: 0,
            rejected: 0,
            last: VecDeque::new(),
        });
        line.next = file.next;
        line.files += 1;
        line.rows += file.rows;
        line.rejected += file.rejected;
        line.last.push_back(file.clone());
        if line.last.len() > OF_PARTITION {
            line.last.pop_front();
        }
        notes.last.push_front(file);
        notes.last.truncate(LAST);
        notes.misfits.extend(&footer.misfits);
        for (reason, count) in reasons {
            *notes.reasons.entry(reason.code()).or_default() += count;
        }
    }

    /// Notes the data set's schema, if that is not done yet.
    pub(crate) fn schema(&self, fingerprint: &str, columns: impl FnOnce() -> Value) {
        let mut notes = self.notes();
        if notes.schema.is_none() {
            notes.schema = Some((fingerprint.to_owned(), columns()));
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Serialize for Journal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.notes().serialize(serializer)
    }
}
