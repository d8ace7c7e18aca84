//! The publishing half of a lane: a batch's files become visible in their order, whatever the store does.

use super::{Sink, Tell, What};
use crate::dataset::begin::Begin;
use crate::dataset::footer::Footer;
use crate::dataset::store::Creation;
use crate::dataset::{names, reader};
use crate::encode::{Encoded, File};
use anyhow::Context;
use bytes::Bytes;
use std::time::Instant;
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
    sink.persist("publishing", premises).await?;
    if let Some(next) = begin(sink, &files).await? {
        return Ok(What::Superseded { next });
    }
    if let Some((gap, offsets)) = &files.gap {
        if let Some(theirs) = create(sink, gap).await? {
            return Ok(superseded(&in_the_way(&theirs, gap)?));
        }
        // Counted here and not where it was noticed: from now on the data set itself tells of it.
        metrics::counter!("tidemill_lost_records_total").increment(*offsets);
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
        for path in sink
            .known
            .take_dead(files.footer.partition, files.footer.next)
        {
            if Some(&path) != rejects.as_ref() {
                delete(sink, &path).await;
            }
        }
        let path = files.data.path.clone();
        sink.known.published(files.footer.partition, path);
        return Ok(published(sink, files));
    };
    let theirs = in_the_way(&theirs, &files.data)?;
    if let Some(path) = &rejects
        && (theirs.next, &theirs.rejects) != (files.footer.next, &files.footer.rejects)
    {
        delete(sink, path).await;
    }
    Ok(superseded(&theirs))
}

/// Makes sure that the next file of a partition follows those that are there: else there would be a gap before it.
///
/// Errors: the data set's schema or the partition's newest file is gone.
async fn is_there(sink: &Sink, partition: i32) -> anyhow::Result<()> {
    let newest = async {
        match sink.known.newest(partition) {
            Some(newest) => sink.store.require(&newest).await,
            None => Ok(()),
        }
    };
    tokio::try_join!(sink.store.require(names::SCHEMA), newest).map(drop)
}

/// Says in the data set where the partition begins, before its first file; a position where a peer has begun it at
/// another one.
async fn begin(sink: &Sink, files: &Encoded) -> anyhow::Result<Option<i64>> {
    let footer = &files.footer;
    if sink.known.newest(footer.partition).is_some() {
        return Ok(None);
    }
    let gap = files.gap.as_ref().map_or(0, |(_, offsets)| *offsets);
    let frozen = sink.freezer.get().context("files without a schema")?;
    let begin = Begin {
        topic: footer.topic.clone(),
        topic_id: footer.topic_id,
        partition: footer.partition,
        first: footer.first - gap as i64,
        partitions: sink.partitions,
        from: sink.from,
        empty: false,
        schema: frozen.fingerprint.clone(),
    };
    let publish = || begin.publish(&sink.store, &frozen);
    let first = sink.persist("beginning a partition", publish).await?;
    if first != begin.first {
        return Ok(Some(first));
    }
    let path = names::begin(&footer.topic, footer.partition);
    sink.known.published(footer.partition, path);
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
    let find = || sink.store.find(&data.path);
    if let Some(theirs) = sink.persist("looking for a peer's file", find).await? {
        return Ok(Rejects::Overtaken(in_the_way(&theirs, data)?));
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
        ..
    } = files.footer;
    tracing::info!(
        partition,
        first,
        next,
        rows,
        rejected,
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
        if sink.freezer.is_first_misfit(field) {
            let frozen = sink.freezer.get();
            let remedy = match frozen.is_some_and(|frozen| frozen.schema.can_take(field)) {
                true => {
                    "`collector infer` prints a schema that takes them: give it as --schema with another --out, and \
                     collect again"
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
    metrics::counter!("tidemill_rows_total").increment(rows);
    metrics::counter!("tidemill_misfits_total").increment(files.footer.misfits.total());
    for (reason, count) in files.reasons {
        metrics::counter!("tidemill_rejected_total", "reason" => reason.code()).increment(count);
    }
    metrics::counter!("tidemill_files_total").increment(1);
    metrics::counter!("tidemill_file_bytes_total").increment(bytes as u64);
    What::Published(Box::new(files.footer))
}

/// Deletes rejects that no data file stands for; where that fails the next start does.
async fn delete(sink: &Sink, path: &str) {
    if let Err(error) = sink.store.delete(path).await {
        tracing::debug!("{error:#}");
    }
}

fn superseded(theirs: &Footer) -> What {
    What::Superseded { next: theirs.next }
}

/// The footer of the file that was there before ours.
fn in_the_way(theirs: &Bytes, ours: &File) -> anyhow::Result<Footer> {
    reader::footer(theirs).with_context(|| format!("{} is in the way", ours.path))
}

/// Creates a file; `None` when it is there with our bytes, otherwise the bytes that were there before.
async fn create(sink: &Sink, file: &File) -> anyhow::Result<Option<Bytes>> {
    let write = || sink.store.create(&file.path, file.bytes.clone());
    Ok(match sink.persist("publishing", write).await? {
        Creation::Created => None,
        // An earlier try succeeded although its answer was lost, or a peer wrote the very same.
        Creation::Exists(theirs) if theirs == file.bytes => None,
        Creation::Exists(theirs) => Some(theirs),
    })
}
