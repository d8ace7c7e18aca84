//! Looks, beside a run, for files that are missing between others: the position, which is the newest file's end, does not
//! show them.

use super::names;
use super::offset::Offset;
use super::open::DataSet;
use super::reader::read_footer;
use super::store::Store;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::ops::Range;

/// Files that are looked at, of all partitions together: seconds of work. `verify` looks at all.
const MOST: usize = 20_000;

/// The files that are read at a time.
const AT_ONCE: usize = 4;

/// Warns of files that are missing between the newest ones of each of the topic's partitions.
pub(crate) async fn warn(data_set: DataSet, partitions: usize) {
    match find(data_set.store(), &data_set.topic().name, partitions).await {
        Ok(gaps) => {
            for (partition, gap) in gaps {
                tracing::warn!(
                    partition,
                    from = i64::from(gap.start),
                    to = i64::from(gap.end),
                    "files are missing in the data set: these offsets are in none; `collector verify` names all that is \
                     wrong"
                );
            }
        }
        Err(error) => tracing::warn!("cannot look for missing files: {error:#}"),
    }
}

/// The offsets that are in no file, each with its partition.
async fn find(
    store: &Store,
    topic: &str,
    partitions: usize,
) -> anyhow::Result<Vec<(i32, Range<Offset>)>> {
    let most = (MOST / partitions.max(1)).max(2);
    let mut gaps = Vec::new();
    for (partition, firsts) in store.newest_files(topic, most).await? {
        let looks = firsts.windows(2).map(|pair| {
            let (first, following) = (pair[0], pair[1]);
            async move {
                let footer = read_footer(store, &names::data(topic, partition, first)).await?;
                let gap = footer.next < following;
                // A peer may have published the file while the names were read.
                let next = names::data(topic, partition, footer.next);
                let gap = gap && store.require(&next).await.is_err();
                Ok::<_, anyhow::Error>(gap.then_some(footer.next..following))
            }
        });
        let looks = looks.collect::<Vec<_>>();
        let found = stream::iter(looks).buffered(AT_ONCE);
        let found: Vec<Option<Range<Offset>>> = found.try_collect().await?;
        gaps.extend(found.into_iter().flatten().map(|gap| (partition, gap)));
    }
    Ok(gaps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::store::Location;
    use crate::encode::{Codec, encode};
    use crate::pipeline;
    use crate::pipeline::batch::Batch;

    #[tokio::test]
    async fn files_that_are_missing_between_others_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Folder(folder.path().into()), true).unwrap();
        let sink = pipeline::tests::sink(store.clone()).await;
        let frozen = sink.data_set.frozen().unwrap();
        for first in [0, 20, 40, 60] {
            let mut batch = Batch::at(first.into());
            for offset in first..first + 20 {
                assert!(batch.push(offset.into(), None, None, Some(b"{}"), std::iter::empty()));
            }
            let encoded = encode(&"t".into(), 3, batch, &frozen, Codec::Zstd, None).unwrap();
            let data = encoded.data;
            store.create(&data.path, data.bytes).await.unwrap();
        }
        assert_eq!(find(&store, "t", 4).await.unwrap(), []);
        store.delete(&names::data("t", 3, 20.into())).await.unwrap();
        assert_eq!(
            find(&store, "t", 4).await.unwrap(),
            [(3, 20.into()..40.into())]
        );
        assert_eq!(find(&store, "u", 4).await.unwrap(), []);
        // With so many partitions the newest two of each are looked at.
        assert_eq!(find(&store, "t", MOST).await.unwrap(), []);
    }
}
