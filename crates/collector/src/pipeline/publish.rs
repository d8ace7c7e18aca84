//! The publishing half of a lane: a batch's files become visible in their order, whatever the store does.

use super::{Sink, Tell, What};
use crate::dataset::damage::damaged;
use crate::dataset::footer::Footer;
use crate::dataset::offset::Offset;
use crate::dataset::store::Creation;
use crate::dataset::{names, reader};
use crate::encode::{Encoded, File};
use bytes::Bytes;
use std::time::Instant;
use tidemill_core::clock::now_ms;
use tidemill_core::metric::stage;
use tokio::sync::mpsc;

/// Publishes batches as they come, until one does not move the position any more.
pub(super) async fn publish_all(sink: Sink, mut encoded: mpsc::Receiver<Encoded>, tell: Tell) {
    while let Some(files) = encoded.recv().await {
        let started = Instant::now();
        let what = publish(&sink, files).await.unwrap_or_else(What::Failed);
        stage("publish", started.elapsed());
        let goes_on = matches!(what, What::Published(_));
        tell.tell(what);
        if !goes_on {
            return;
        }
    }
}

/// Publishes a batch's files, trying for as long as the store fails: first what stands before and beside the rows,
/// last the rows, whose file moves the position.
async fn publish(sink: &Sink, files: Encoded) -> anyhow::Result<What> {
    let premises = || is_there(sink, files.footer.partition);
    sink.outages.persist("publishing", premises).await?;
    if let Some(next) = begin(sink, &files).await? {
        return Ok(What::Superseded { next });
    }
    let rejects = match publish_rejects(sink, &files).await? {
        Rejects::None => None,
        Rejects::At(path) => Some(path),
        Rejects::Overtaken(theirs) => return Ok(superseded(&theirs)),
    };
    let Some(theirs) = create(sink, &files.data).await? else {
        if let (Some(path), Some(usual)) = (&rejects, &files.rejects)
            && *path != usual.path
        {
            // Nobody can publish a data file that stands for it any more.
            delete(sink, &usual.path).await;
        }
        let Footer {
            partition, next, ..
        } = files.footer;
        for path in sink.data_set.known().take_dead(partition, next) {
            if Some(&path) != rejects.as_ref() {
                delete(sink, &path).await;
            }
        }
        let path = files.data.path.clone();
        sink.data_set
            .known()
            .published(files.footer.partition, path);
        return Ok(published(sink, files));
    };
    let theirs = in_the_way(sink, &theirs, &files.data)?;
    if let Some(path) = &rejects
        && (theirs.next, &theirs.rejects) != (files.footer.next, &files.footer.rejects)
    {
        delete(sink, path).await;
    }
    Ok(superseded(&theirs))
}

/// Makes sure that the next file of a partition follows those that are there: else there would be a gap before it. On a
/// bucket that is a request for each file.
///
/// Errors: the partition's newest file is gone, or, where there is none yet, the data set's schema.
async fn is_there(sink: &Sink, partition: i32) -> anyhow::Result<()> {
    let newest = sink.data_set.known().newest(partition);
    let last = newest.as_deref().unwrap_or(names::SCHEMA);
    sink.data_set.store().require(last).await
}

/// Says in the data set where the partition begins, before its first file; a position where a peer has begun it at
/// another one.
async fn begin(sink: &Sink, files: &Encoded) -> anyhow::Result<Option<Offset>> {
    let footer = &files.footer;
    if sink.data_set.known().newest(footer.partition).is_some() {
        return Ok(None);
    }
    let publish = || sink.data_set.begin(footer.partition, footer.first, false);
    let first = sink
        .outages
        .persist("beginning a partition", publish)
        .await?;
    if first != footer.first {
        return Ok(Some(first));
    }
    let path = names::begin(&footer.topic, footer.partition);
    sink.data_set.known().published(footer.partition, path);
    Ok(None)
}

/// The outcome for a batch's rejects.
enum Rejects {
    /// There are none.
    None,
    /// They are at this path.
    At(String),
    /// They were not published, since a peer's data file is there already.
    Overtaken(Footer),
}

/// Publishes what could not become rows.
///
/// Another process may have left rejects of the same records and have judged them otherwise (by other flags, or
/// another version); they stay, since it may still publish its data file, and ours get a path of their own.
async fn publish_rejects(sink: &Sink, files: &Encoded) -> anyhow::Result<Rejects> {
    let (Some(usual), Some(digest)) = (&files.rejects, &files.footer.rejects) else {
        return Ok(Rejects::None);
    };
    if create(sink, usual).await?.is_none() {
        return Ok(Rejects::At(usual.path.clone()));
    }
    let data = &files.data;
    let find = || sink.data_set.store().find(&data.path);
    if let Some(theirs) = sink
        .outages
        .persist("looking for a peer's file", find)
        .await?
    {
        return Ok(Rejects::Overtaken(in_the_way(sink, &theirs, data)?));
    }
    tracing::warn!(
        path = usual.path,
        "another process judged these records otherwise: all that write to a data set need the same flags and version"
    );
    let beside = File {
        path: names::rejected_beside(&usual.path, digest),
        bytes: usual.bytes.clone(),
    };
    create(sink, &beside).await?;
    Ok(Rejects::At(beside.path))
}

/// Counts a batch whose records are in the data set, and tells of the first misfits of each field.
fn published(sink: &Sink, files: Encoded) -> What {
    let bytes = files.data.bytes.len();
    let Footer {
        partition,
        first,
        next,
        rows,
        rejected,
        gap,
        ..
    } = files.footer;
    if gap {
        // Counted here and not where it was noticed: from now on the data set itself tells of it.
        metrics::counter!("tidemill_lost_records_total").increment(next.since(first));
    }
    tracing::info!(
        partition,
        first = i64::from(first),
        next = i64::from(next),
        rows,
        rejected,
        gap,
        bytes,
        "published {}",
        files.data.path
    );
    if rejected > 0 {
        let reasons = files.reasons.iter();
        let reasons = reasons.map(|(reason, count)| format!("{} {count}", reason.code()));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        let path = &files.data.path;
        tracing::warn!(
            partition,
            rejected,
            reasons,
            "records set aside, see _rejected/ beside {path}"
        );
    }
    for (field, count) in files.footer.misfits.iter() {
        if sink.data_set.freezer().is_first_misfit(field) {
            let frozen = sink.data_set.frozen();
            let remedy = match frozen.is_some_and(|frozen| frozen.schema.can_take(field)) {
                true => {
                    "`collector infer` prints a schema that takes them: give it as --schema with another --out, and \
                     collect again (in an object only the first of names that differ in case alone gets a column)"
                }
                false => {
                    "no schema can take them, since the name is a feature's or the collector's own (as of keys that are \
                     not UTF-8), or differs from a column's in case alone: read them from there, or rename the field \
                     where it is written"
                }
            };
            tracing::warn!(
                field,
                count,
                "values of this field fit no column and are kept in _extra as JSON; {remedy}"
            );
        }
    }
    let file = (files.data.path.as_str(), bytes);
    sink.journal
        .published(&files.footer, file, &files.reasons, now_ms());
    if let Some(frozen) = sink.data_set.frozen() {
        let columns = || serde_json::to_value(&frozen.schema.columns).unwrap_or_default();
        sink.journal.schema(&frozen.fingerprint, columns);
    }
    metrics::counter!("tidemill_rows_total").increment(rows);
    metrics::counter!("tidemill_misfits_total").increment(files.footer.misfits.total());
    let unknown = files.footer.unknown.total();
    metrics::counter!("tidemill_unknown_features_total").increment(unknown);
    for (reason, count) in files.reasons {
        metrics::counter!("tidemill_rejected_total", "reason" => reason.code()).increment(count);
    }
    metrics::counter!("tidemill_files_total").increment(1);
    metrics::counter!("tidemill_file_bytes_total").increment(bytes as u64);
    What::Published(Box::new(files.footer))
}

/// Deletes rejects that no data file accounts for; where that fails the next start does.
async fn delete(sink: &Sink, path: &str) {
    if let Err(error) = sink.data_set.store().delete(path).await {
        tracing::debug!("{error:#}");
    }
}

fn superseded(theirs: &Footer) -> What {
    What::Superseded { next: theirs.next }
}

/// The footer of the file that was there before ours.
fn in_the_way(sink: &Sink, theirs: &Bytes, ours: &File) -> anyhow::Result<Footer> {
    let footer = reader::footer(theirs);
    footer.map_err(|cause| damaged(sink.data_set.store(), &ours.path, cause))
}

/// Creates a file; `None` when it is there with our bytes, otherwise the bytes that were there before.
async fn create(sink: &Sink, file: &File) -> anyhow::Result<Option<Bytes>> {
    let write = || sink.data_set.store().create(&file.path, file.bytes.clone());
    Ok(match sink.outages.persist("publishing", write).await? {
        Creation::Created => None,
        // An earlier try succeeded although its answer was lost, or a peer wrote the very same.
        Creation::Exists(theirs) if theirs == file.bytes => None,
        Creation::Exists(theirs) => Some(theirs),
    })
}
