//! The names of a data set's files: they say which records a file holds, and sort as the log does.

use super::offset::Offset;
use std::str::FromStr;

/// The folder of what could not become a row.
pub(crate) const REJECTED: &str = "_rejected";

/// The folder where files are written before they get their names; readers skip it for its underscore.
pub(crate) const STAGING: &str = "_staging";

/// The frozen schema; it sorts before the data files or is skipped for its underscore, and has no rows.
pub(crate) const SCHEMA: &str = "_schema.parquet";

/// The prefix of the files that say where partitions begin.
pub(crate) const BEGIN: &str = "_begin+";

/// The name of the data file that starts at `first`.
pub(crate) fn data(topic: &str, partition: i32, first: Offset) -> String {
    format!("{topic}+{partition:05}+{first:020}.parquet")
}

/// The path of the rejects among the records of [`first`, `next`).
pub(crate) fn rejected(topic: &str, partition: i32, first: Offset, next: Offset) -> String {
    format!("{REJECTED}/{topic}+{partition:05}+{first:020}+{next:020}.ndjson")
}

/// The name of the file that says where a partition begins. It has no rows and the columns of all others, so that polars
/// and DuckDB, which read every file of a folder, stumble over nothing.
pub(crate) fn begin(topic: &str, partition: i32) -> String {
    format!("{BEGIN}{topic}+{partition:05}.parquet")
}

/// Topic and partition of such a file's name; `None` for other files.
pub(crate) fn parse_begin(name: &str) -> Option<(&str, i32)> {
    let stem = name.strip_prefix(BEGIN)?.strip_suffix(".parquet")?;
    let (topic, partition) = stem.rsplit_once('+')?;
    let partition = number(partition, 5)?;
    is_topic(topic).then_some((topic, partition))
}

/// The prefix of the files that say how far bounded runs have collected.
const END: &str = "_end+";

/// The name of the file that says how far a bounded run has collected, by the digest of what it says.
pub(crate) fn end(topic: &str, digest: &str) -> String {
    let short = digest.get(..16).unwrap_or(digest);
    format!("{END}{topic}+{short}.parquet")
}

/// True for the name of such a file.
pub(crate) fn is_end(name: &str) -> bool {
    name.starts_with(END) && name.ends_with(".parquet")
}

/// The prefix of a partition's data files, before their first offsets.
pub(crate) fn data_prefix(topic: &str, partition: i32) -> String {
    format!("{topic}+{partition:05}+")
}

/// A name that stands before those of a partition's reject files from `first` on, and after all others'.
pub(crate) fn rejects_from(topic: &str, partition: i32, first: Offset) -> String {
    format!("{topic}+{partition:05}+{first:020}")
}

/// The path of rejects with this digest where other rejects have the path that is theirs: a process that judged the
/// same records otherwise was there, and may yet publish its data file or have been killed.
pub(crate) fn rejected_beside(path: &str, digest: &str) -> String {
    let stem = path.strip_suffix(".ndjson").unwrap_or(path);
    let short = digest.get(..16).unwrap_or(digest);
    format!("{stem}+{short}.ndjson")
}

/// The parts of a reject file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejected<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) first: Offset,
    pub(crate) next: Offset,
}

/// Topic, partition and first offset of a data file's name; `None` for other files.
pub(crate) fn parse_data(name: &str) -> Option<(&str, i32, Offset)> {
    let stem = name.strip_suffix(".parquet")?;
    let (rest, first) = stem.rsplit_once('+')?;
    let (topic, partition) = rest.rsplit_once('+')?;
    let found = (topic, number(partition, 5)?, number(first, 20)?);
    is_topic(topic).then_some(found)
}

/// Reads a reject file's name, without its folder; `None` for other files.
pub(crate) fn parse_rejected(name: &str) -> Option<Rejected<'_>> {
    let mut stem = name.strip_suffix(".ndjson")?;
    if let Some((rest, digest)) = stem.rsplit_once('+')
        && digest.len() == 16
    {
        stem = rest;
    }
    let (rest, next) = stem.rsplit_once('+')?;
    let (rest, first) = rest.rsplit_once('+')?;
    let (topic, partition) = rest.rsplit_once('+')?;
    let found = Rejected {
        topic,
        partition: number(partition, 5)?,
        first: number(first, 20)?,
        next: number(next, 20)?,
    };
    is_topic(topic).then_some(found)
}

/// The same of a path in the data set; `None` for files elsewhere too.
pub(crate) fn parse_rejected_path(path: &str) -> Option<Rejected<'_>> {
    let (folder, name) = path.split_once('/')?;
    parse_rejected(name).filter(|_| folder == REJECTED)
}

/// Readers of a folder skip files and folders whose names begin with `_` or `.`, and take all others for data, whatever
/// their names end with. Some skip nothing that is a Parquet file of the folder itself.
pub(crate) fn may_be_read(path: &str) -> bool {
    let skipped = path.split('/').any(|part| part.starts_with(['_', '.']));
    !skipped || (!path.contains('/') && path.ends_with(".parquet"))
}

/// A path in a folder of the data set is no name, whatever stands at its end.
fn is_topic(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

/// A number as the names write it: padded, so at least `width` digits, and no more than it needs.
fn number<N: FromStr>(text: &str, width: usize) -> Option<N> {
    let digits = text.len() >= width && text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() == width || !text.starts_with('0');
    (digits && padded).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_read_as_documented() {
        let name = data("labeled-events", 3, 120_000.into());
        assert_eq!(name, "labeled-events+00003+00000000000000120000.parquet");
        let name = rejected("t", 0, 5.into(), 9.into());
        assert_eq!(
            name,
            "_rejected/t+00000+00000000000000000005+00000000000000000009.ndjson"
        );
        for other in [
            "x.parquet",
            "t+1+2.parquet",
            "+00001+00000000000000000002.parquet",
            "t+00001+000.txt",
            "old/t+00001+00000000000000000002.parquet",
        ] {
            assert_eq!(parse_data(other), None, "{other}");
        }
    }

    #[test]
    fn readers_take_for_data_all_that_is_not_hidden() {
        for (path, expected) in [
            ("t+00000+00000000000000000000.parquet.bak", true),
            ("t+00000+00000000000000000000.PARQUET", true),
            ("notes.txt", true),
            ("old/t+00000+00000000000000000000.parquet", true),
            ("p=1/a/b.parquet", true),
            ("_copy.parquet", true),
            (".x.parquet", true),
            ("_SUCCESS", false),
            (".x.crc", false),
            ("_staging/x.parquet", false),
            ("_rejected/.x", false),
            ("old/_x.parquet", false),
            (".git/x.parquet", false),
        ] {
            assert_eq!(may_be_read(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn names_parse_back_and_sort_as_offsets(
            topic in prop::collection::vec(prop::sample::select(b"az09._-".to_vec()), 1..10),
            partition in 0..200_000_i32,
            first in (0..i64::MAX).prop_map(Offset::from),
            next in (0..i64::MAX).prop_map(Offset::from),
        ) {
            let topic = String::from_utf8(topic).unwrap();
            let name = data(&topic, partition, first);
            prop_assert_eq!(parse_data(&name), Some((topic.as_str(), partition, first)));
            prop_assert_eq!(name < data(&topic, partition, next), first < next);
            let path = rejected(&topic, partition, first, next);
            let expected = Rejected { topic: &topic, partition, first, next };
            let beside = rejected_beside(&path, &"0123456789abcdef".repeat(4));
            prop_assert!(beside != path);
            for path in [path, beside] {
                let name = path.strip_prefix("_rejected/").unwrap();
                prop_assert_eq!(parse_rejected(name), Some(expected));
                prop_assert!(*name > *rejects_from(&topic, partition, first));
                prop_assert!(*name < *rejects_from(&topic, partition, first.next()));
            }
            prop_assert!(data(&topic, partition, first).starts_with(&data_prefix(&topic, partition)));
            let begin = begin(&topic, partition);
            prop_assert_eq!(parse_begin(&begin), Some((topic.as_str(), partition)));
            prop_assert_eq!(parse_data(&begin), None);
        }
    }
}
