//! Finds each partition's position in the footer of its newest file.

use crate::dataset::begin::Begin;
use crate::dataset::catalog::Catalog;
use crate::dataset::damage::damaged;
use crate::dataset::footer::Footer;
use crate::dataset::names;
use crate::dataset::offset::Offset;
use crate::dataset::open::DataSet;
use crate::dataset::reader::read_footer;
use crate::dataset::store::Store;
use anyhow::{anyhow, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use tidemill_core::kafka::StoredPosition;

/// The partitions whose files are read at a time.
const AT_ONCE: usize = 16;

/// The data set's knowledge of a partition.
enum Found {
    /// Its newest file.
    File(Footer),
    /// Its beginning, while it has no file.
    Begin(Begin),
    /// Nothing.
    Nothing,
}

/// The position of each of these partitions: where its newest file ends, or where it begins; `None` where the data set
/// says nothing of it.
///
/// Reject files that no data file accounts for any more, left by a crash, are deleted on the way.
pub(crate) async fn positions(
    data_set: &DataSet,
    partitions: &[i32],
) -> anyhow::Result<Vec<(i32, Option<StoredPosition<u64>>)>> {
    if data_set.frozen().is_some() {
        data_set.store().require(names::SCHEMA).await?;
    }
    let newest = data_set
        .store()
        .newest(&data_set.topic().name, partitions)
        .await?;
    let looks = partitions.iter().zip(newest);
    let looks = looks.map(|(partition, newest)| look(data_set, *partition, newest));
    let looks = looks.collect::<Vec<_>>();
    let found: Vec<Found> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
    let starts = partitions.iter().zip(&found);
    let starts = starts.map(|(partition, found)| (*partition, found.first()));
    let starts: Vec<(i32, Offset)> = starts.collect();
    let rejects = data_set
        .store()
        .rejects_from(&data_set.topic().name, &starts)
        .await?;
    let mut positions = Vec::with_capacity(partitions.len());
    for ((partition, found), rejects) in partitions.iter().zip(found).zip(rejects) {
        let position = found.position();
        let (dead, leftovers) = sort_rejects(&found, rejects);
        for path in dead {
            tracing::info!(path, "deleting rejects that no data file stands for");
            data_set.store().delete(&path).await?;
        }
        data_set
            .known()
            .started(*partition, found.path(), leftovers);
        positions.push((*partition, position));
    }
    Ok(positions)
}

async fn look(data_set: &DataSet, partition: i32, newest: Option<String>) -> anyhow::Result<Found> {
    let found = match newest {
        Some(name) => Found::File(end(data_set.store(), &name).await?),
        None => {
            let begin = Begin::find(data_set.store(), &data_set.topic().name, partition).await?;
            begin.map_or(Found::Nothing, Found::Begin)
        }
    };
    if let (Some(frozen), Some(schema), Some(path)) =
        (data_set.frozen(), found.schema(), found.path())
    {
        let other = || anyhow!("it has another schema than the data set, and was copied here");
        ensure!(
            frozen.fingerprint == schema,
            damaged(data_set.store(), &path, other())
        );
    }
    Ok(found)
}

impl Found {
    /// The first offset that its newest file covers; without one, all offsets.
    fn first(&self) -> Offset {
        match self {
            Self::File(footer) => footer.first,
            Self::Begin(_) | Self::Nothing => Offset::default(),
        }
    }

    /// The fingerprint of the schema that it was written with.
    fn schema(&self) -> Option<&str> {
        match self {
            Self::File(footer) => Some(&footer.schema),
            Self::Begin(begin) => Some(&begin.schema),
            Self::Nothing => None,
        }
    }

    /// The path of what was found.
    fn path(&self) -> Option<String> {
        match self {
            Self::File(footer) => Some(names::data(&footer.topic, footer.partition, footer.first)),
            Self::Begin(begin) => Some(names::begin(&begin.topic, begin.partition)),
            Self::Nothing => None,
        }
    }

    /// The position at which to go on.
    fn position(&self) -> Option<StoredPosition<u64>> {
        match self {
            Self::File(footer) => Some(footer.position()),
            Self::Begin(begin) => Some(StoredPosition {
                topic: begin.topic_id,
                next: begin.first.into(),
                last: None,
            }),
            Self::Nothing => None,
        }
    }
}

/// The newest file of each partition of `topic` that has any.
pub(crate) async fn newest(store: &Store, topic: &str) -> anyhow::Result<Vec<Footer>> {
    let catalog = Catalog::list(store).await?;
    let mut footers = Vec::new();
    for ((of, _), files) in &catalog.chains {
        if let (true, Some(newest)) = (of == topic, files.last()) {
            footers.push(end(store, &newest.name).await?);
        }
    }
    Ok(footers)
}

/// The footer of a partition's newest file.
async fn end(store: &Store, name: &str) -> anyhow::Result<Footer> {
    let footer = read_footer(store, name).await?;
    let named = names::data(&footer.topic, footer.partition, footer.first);
    let copied = || anyhow!("it holds what should be named {named}, and was renamed or copied");
    ensure!(named == name, damaged(store, name, copied()));
    Ok(footer)
}

/// Sorts the reject files from the newest data file on into those that can belong to no data file and those that start
/// after it. A peer may be about to publish what the latter belong to.
fn sort_rejects(found: &Found, rejects: Vec<String>) -> (Vec<String>, Vec<String>) {
    let (next, counted) = match found {
        Found::File(footer) => (footer.next, counted(footer, &rejects)),
        Found::Begin(_) | Found::Nothing => (Offset::default(), None),
    };
    let (after, within): (Vec<String>, Vec<String>) = rejects.into_iter().partition(|path| {
        let name = path.rsplit('/').next().unwrap_or_default();
        names::parse_rejected(name).is_none_or(|file| file.first >= next)
    });
    let dead = within
        .into_iter()
        .filter(|path| Some(path) != counted.as_ref());
    (dead.collect(), after)
}

/// The one of these files that has the rejects of a data file.
fn counted(footer: &Footer, rejects: &[String]) -> Option<String> {
    let [usual, beside] = footer.reject_paths()?;
    Some(match rejects.contains(&beside) {
        true => beside,
        false => usual,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::store::stub::Faults;
    use crate::dataset::store::tests::stubbed;
    use crate::dataset::topic::Topic;
    use crate::encode::columns::Misfits;
    use crate::encode::{Codec, encode};
    use crate::features::Unknown;
    use crate::pipeline;
    use crate::pipeline::batch::Batch;
    use bytes::Bytes;

    #[test]
    fn only_rejects_that_nothing_can_stand_for_are_dead() {
        let digest = "0123456789abcdef".repeat(4);
        let newest = |rejects| {
            Found::File(Footer {
                topic: "t".into(),
                topic_id: None,
                last: None,
                partition: 0,
                first: 30.into(),
                next: 50.into(),
                rows: 20,
                rejected: 0,
                rejects,
                misfits: Misfits::default(),
                unknown: Unknown::default(),
                gap: false,
                schema: String::new(),
                version: String::new(),
            })
        };
        let path = |first: i64, next: i64| names::rejected("t", 0, first.into(), next.into());
        let usual = path(30, 50);
        let beside = names::rejected_beside(&usual, &digest);
        let pending = vec![path(50, 60), path(50, 70)];
        let dead = vec![path(30, 40), path(40, 45)];
        let of = |files: &[&[String]]| files.concat();
        for (found, more, dies) in [
            (newest(Some(digest.clone())), vec![usual.clone()], vec![]),
            // The usual path was taken: the file there belongs to another process.
            (
                newest(Some(digest.clone())),
                vec![usual.clone(), beside.clone()],
                vec![usual.clone()],
            ),
            (
                newest(None),
                vec![usual.clone(), beside.clone()],
                vec![usual.clone(), beside.clone()],
            ),
        ] {
            let rejects = of(&[&dead, &more, &pending]);
            assert_eq!(
                sort_rejects(&found, rejects),
                (of(&[&dead, &dies]), pending.clone())
            );
        }
        let all = of(&[&dead, &pending]);
        assert_eq!(sort_rejects(&Found::Nothing, all.clone()), (vec![], all));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_large_data_set_in_a_bucket_is_resumed_with_few_listings() {
        let faults = Faults {
            page: 1_000,
            ..Faults::default()
        };
        let (stub, store) = stubbed(faults, "p").await;
        let sink = pipeline::tests::sink(store).await;
        let frozen = sink.data_set.frozen().unwrap();
        let (files, rows) = (100_000, 10_000);
        for partition in 0..3 {
            let mut objects = stub.objects.lock().unwrap();
            for file in 0..files {
                let first = file * rows;
                let data = names::data("t", partition, first.into());
                objects.insert(format!("p/{data}"), Bytes::new());
                let rejects = names::rejected("t", partition, first.into(), (first + rows).into());
                objects.insert(format!("p/{rejects}"), Bytes::new());
            }
            let mut batch = Batch::at((files * rows).into());
            let value = Some(b"{\"n\":1}".as_slice());
            assert!(batch.push(batch.first(), None, None, value, std::iter::empty()));
            let topic = Topic::from("t");
            let encoded = encode(&topic, partition, batch, &frozen, Codec::Zstd, None).unwrap();
            objects.insert(format!("p/{}", encoded.data.path), encoded.data.bytes);
        }
        *stub.lists.lock().unwrap() = 0;
        let found = positions(&sink.data_set, &[0, 1, 2, 3]).await.unwrap();
        let next = found.iter().map(|(partition, position)| {
            let next = position.map(|position| position.next);
            (*partition, next)
        });
        let end = Some(files * rows + 1);
        let expected = [(0, end), (1, end), (2, end), (3, None)];
        assert_eq!(next.collect::<Vec<_>>(), expected);
        let lists = *stub.lists.lock().unwrap();
        assert!(lists <= 4 * 25, "{lists} listings for 4 partitions");
    }
}
