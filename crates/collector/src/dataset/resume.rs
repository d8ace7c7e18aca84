//! Where to go on: the files say it, since what they hold is what was written.

use crate::dataset::footer::Footer;
use crate::dataset::names;
use crate::dataset::reader::read_footer;
use crate::dataset::store::{Listed, Store};
use crate::pipeline::Sink;
use anyhow::ensure;
use std::collections::BTreeSet;
use tidemill_core::kafka::StoredPosition;

/// The position of each of these partitions: where its newest file ends, `None` where it has none.
///
/// Reject files that no data file stands for any more, left by a crash, are deleted on the way.
pub(crate) async fn positions(
    sink: &Sink,
    partitions: &[i32],
) -> anyhow::Result<Vec<(i32, Option<StoredPosition<u64>>)>> {
    let files = sink.store.list(None).await?;
    let rejects = sink.store.list(Some(names::REJECTED)).await?;
    let mut positions = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let (firsts, newest) = chain(&files, &sink.topic.name, *partition);
        let Some(file) = newest else {
            positions.push((*partition, None));
            continue;
        };
        let footer = end(&sink.store, file).await?;
        for path in stale(&firsts, &footer, &rejects) {
            tracing::info!(path, "deleting rejects that no data file stands for");
            sink.store.delete(&path).await?;
        }
        positions.push((*partition, Some(footer.position())));
    }
    Ok(positions)
}

/// The position of each partition of `topic` that has files.
pub(crate) async fn ends(store: &Store, topic: &str) -> anyhow::Result<Vec<(i32, i64)>> {
    let files = store.list(None).await?;
    let names = files
        .iter()
        .filter_map(|file| names::parse_data(&file.name));
    let own = names.filter(|(of, ..)| *of == topic);
    let partitions: BTreeSet<i32> = own.map(|(_, partition, _)| partition).collect();
    let mut ends = Vec::with_capacity(partitions.len());
    for partition in partitions {
        if let (_, Some(file)) = chain(&files, topic, partition) {
            ends.push((partition, end(store, file).await?.next));
        }
    }
    Ok(ends)
}

/// The footer of a partition's newest file.
async fn end(store: &Store, file: &Listed) -> anyhow::Result<Footer> {
    let footer = read_footer(store, &file.name, file.size).await?;
    let named = names::data(&footer.topic, footer.partition, footer.first);
    ensure!(
        named == file.name,
        "{} in {store} holds what should be named {named}: it was renamed or copied",
        file.name,
    );
    Ok(footer)
}

/// Where the files of a partition start, and its newest; `files` are in the order of their names.
fn chain<'a>(files: &'a [Listed], topic: &str, partition: i32) -> (Vec<i64>, Option<&'a Listed>) {
    let own = files.iter().filter_map(|file| {
        let (of, number, first) = names::parse_data(&file.name)?;
        (of == topic && number == partition).then_some((first, file))
    });
    let (firsts, files): (Vec<i64>, Vec<&Listed>) = own.unzip();
    (firsts, files.last().copied())
}

/// The paths of reject files that can belong to no data file: those before the position whose range is no file's, and
/// those beside the newest file's own. One that starts at the position may be a peer's that is about to publish.
fn stale(firsts: &[i64], newest: &Footer, rejects: &[Listed]) -> Vec<String> {
    let ends = firsts.iter().skip(1).copied().chain([newest.next]);
    let ranges: Vec<(i64, i64)> = firsts.iter().copied().zip(ends).collect();
    let path = |file: &Listed| format!("{}/{}", names::REJECTED, file.name);
    let [usual, beside] = newest.reject_paths().unwrap_or_default();
    let taken = rejects.iter().any(|file| path(file) == beside);
    let counted = if taken { beside } else { usual };
    let stale = rejects.iter().filter_map(|file| {
        let own = names::parse_rejected(&file.name)?;
        let ours = own.topic == newest.topic && own.partition == newest.partition;
        let right = match own.first == newest.first {
            true => path(file) == counted,
            false => ranges.binary_search(&(own.first, own.next)).is_ok(),
        };
        (ours && own.first < newest.next && !right).then(|| path(file))
    });
    stale.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(path: &str) -> Listed {
        let name = path.rsplit('/').next().unwrap().to_owned();
        Listed { name, size: 0 }
    }

    #[test]
    fn the_newest_file_is_the_partitions_own() {
        let names = [
            names::data("t", 1, 0),
            names::data("t", 1, 30),
            names::data("t", 2, 90),
            names::data("tt", 1, 99),
        ];
        let files: Vec<Listed> = names.iter().map(|name| listed(name)).collect();
        let (firsts, newest) = chain(&files, "t", 1);
        assert_eq!((firsts, newest), (vec![0, 30], Some(&files[1])));
        assert_eq!(chain(&files, "t", 3), (vec![], None));
    }

    #[test]
    fn only_rejects_that_nothing_can_stand_for_are_stale() {
        let counted = [(0, 30), (30, 50)];
        let pending = [(50, 60), (50, 70)];
        let left = [(0, 20), (10, 30), (30, 40)];
        let all = counted.iter().chain(&pending).chain(&left);
        let mut rejects: Vec<Listed> = all
            .map(|(first, next)| listed(&names::rejected("t", 0, *first, *next)))
            .collect();
        rejects.push(listed(&names::rejected("t", 9, 0, 20)));
        let newest = |rejects| Footer {
            topic: "t".into(),
            topic_id: None,
            last: None,
            partition: 0,
            first: 30,
            next: 50,
            rows: 20,
            rejected: 0,
            rejects,
            gap: false,
            schema: String::new(),
            version: String::new(),
        };
        let expected: Vec<String> = left
            .iter()
            .map(|(first, next)| names::rejected("t", 0, *first, *next))
            .collect();
        let digest = "0123456789abcdef".repeat(4);
        let with = |rejects: &Vec<Listed>| stale(&[0, 30], &newest(Some(digest.clone())), rejects);
        assert_eq!(with(&rejects), expected);
        // Where the usual path was taken, what is there is another's.
        let usual = names::rejected("t", 0, 30, 50);
        rejects.push(listed(&names::rejected_beside(&usual, &digest)));
        let mut more = with(&rejects);
        more.sort_unstable();
        let mut both = [std::slice::from_ref(&usual), &expected[..]].concat();
        both.sort_unstable();
        assert_eq!(more, both);
        // A file without rejects has none.
        let beside = names::rejected_beside(&usual, &digest);
        let without = stale(&[0, 30], &newest(None), &rejects);
        assert!(without.contains(&usual) && without.contains(&beside));
    }
}
