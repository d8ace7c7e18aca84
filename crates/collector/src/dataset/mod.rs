//! The data set on disk: what its files are called, what they say of themselves, and how they are written, read,
//! resumed from and checked.
//!
//! | file | holds | published |
//! |---|---|---|
//! | `_schema.parquet` | no rows; the columns of all files, the schema as JSON and the topic in its footer | once, before all others |
//! | `_begin+<topic>+<partition>.parquet` | no rows; where the partition begins (`first`), by which `--from`, the topic's id; of bounded runs, which begin all partitions, their number | once, before the partition's first file; where a bounded run finds no record, at its end |
//! | `_end+<topic>+<digest>.parquet` | no rows; how far each partition was collected (`positions`); the digest is theirs | last of all files of a bounded run |
//! | `_rejected/<topic>+<partition>+<first>+<next>.ndjson` | a line for each record of [first, next) that cannot be a row | before the data file that counts it |
//! | `<topic>+<partition>+<first>.parquet` | the rows of [first, next), or none where retention was faster (`gap`) | last: it moves the position |
//!
//! Partitions have 5 digits, offsets 20, so that names sort as the log does. Every file is published whole and under a
//! name that no file has: by linking a file that is synced, or by a put with `If-None-Match`. None is ever changed.
//!
//! Invariants, whatever was killed:
//!
//! - A data set is of one topic and one schema, which its schema file says.
//! - The data files of a partition follow each other: the first starts where the partition begins, each other one at the
//!   `next` of the one before. The newest file's `next` is the position; before there is a file, the beginning is.
//! - Each record of [first, next) is one row of its file or one line of its rejects: `rows + rejected` of the footer.
//! - A file's bytes follow from records, schema, flags and version. Its digest, the last key of its footer, covers all of
//!   them, and each page has a checksum that other readers check; a footer names the digest of its rejects.
//! - Rejects that no data file counts are left over by a process that was killed; the next start, or the next file, deletes
//!   them. Where a process that judged the same records otherwise left its own, ours have `+<digest>` in their name.
//!
//! A footer's keys begin with `tidemill.`: `format`, `topic`, `topic_id`, `partition`, `first`, `next`, `rows`,
//! `rejected`, `rejects`, `misfits` (by field), `unasked` and `uncovered` (rows with unknown features), `gap`, `schema` (its fingerprint), `version`, `json` (the columns of JSON
//! text), `digest`.

pub(crate) mod begin;
pub(crate) mod catalog;
pub(crate) mod damage;
pub(crate) mod end;
mod facts;
pub(crate) mod footer;
pub(crate) mod gaps;
pub mod inspect;
pub(crate) mod known_partitions;
pub(crate) mod names;
pub mod offset;
pub(crate) mod open;
pub(crate) mod reader;
pub mod rejects;
pub(crate) mod resume;
pub(crate) mod seal;
pub(crate) mod start;
pub(crate) mod store;
pub(crate) mod topic;
pub mod verify;

pub use footer::Footer;
pub use store::Location;
