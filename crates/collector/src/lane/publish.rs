//! The publishing half of a lane: a batch's files become visible in their order, whatever the store does.

use super::{Sink, Tell, What};
use crate::dataset::footer::Footer;
use crate::dataset::store::Creation;
use crate::dataset::{names, reader};
use crate::encode::{Encoded, File};
use anyhow::Context;
use bytes::Bytes;
use std::time::{Duration, Instant};
use tidemill_core::metric::stage;
use tokio::sync::mpsc;

/// First and longest wait before a failed write is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Publishes batches as they come, until one does not move the position any more.
pub(super) async fn publish_all(sink: Sink, mut encoded: mpsc::Receiver<Encoded>, tell: Tell) {
    while let Some(files) = encoded.recv().await {
        let started = Instant::now();
        let what = publish(&sink, files).await;
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
async fn publish(sink: &Sink, files: Encoded) -> What {
    if let Some(gap) = &files.gap
        && let Some(theirs) = create(sink, gap).await
    {
        return superseded(in_the_way(&theirs, gap));
    }
    let rejects = match publish_rejects(sink, &files).await {
        Ok(path) => path,
        Err(what) => return what,
    };
    let Some(theirs) = create(sink, &files.data).await else {
        if let (Some(path), Some(usual)) = (&rejects, &files.rejects)
            && *path != usual.path
        {
            // Nobody can publish a data file that stands for it any more.
            delete(sink, &usual.path).await;
        }
        return published(files);
    };
    let theirs = in_the_way(&theirs, &files.data);
    if let (Ok(theirs), Some(path)) = (&theirs, &rejects)
        && (theirs.next, &theirs.rejects) != (files.footer.next, &files.footer.rejects)
    {
        delete(sink, path).await;
    }
    superseded(theirs)
}

/// Publishes what could not become rows, if anything, and returns its path.
///
/// Another process may have left rejects of the same records and have judged them otherwise (by other flags, or
/// another version); they stay, since it may still publish its data file, and ours get a path of their own.
async fn publish_rejects(sink: &Sink, files: &Encoded) -> Result<Option<String>, What> {
    let (Some(usual), Some(digest)) = (&files.rejects, &files.footer.rejects) else {
        return Ok(None);
    };
    if create(sink, usual).await.is_none() {
        return Ok(Some(usual.path.clone()));
    }
    let data = &files.data;
    let find = || sink.store.find(&data.path);
    if let Some(theirs) = persist(sink, "looking for a peer's file", find).await {
        return Err(superseded(in_the_way(&theirs, data)));
    }
    tracing::warn!(
        path = usual.path,
        "another process judged these records otherwise: all that write to a data set need the same flags and version"
    );
    let beside = File {
        path: names::rejected_beside(&usual.path, digest),
        bytes: usual.bytes.clone(),
    };
    create(sink, &beside).await;
    Ok(Some(beside.path))
}

/// Counts a batch whose records are in the data set.
fn published(files: Encoded) -> What {
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
    metrics::counter!("tidemill_rows_total").increment(rows);
    metrics::counter!("tidemill_misfits_total").increment(files.misfits as u64);
    metrics::counter!("tidemill_files_total").increment(1);
    metrics::counter!("tidemill_file_bytes_total").increment(bytes as u64);
    What::Published(files.footer)
}

/// Deletes rejects that no data file stands for; where that fails the next start does.
async fn delete(sink: &Sink, path: &str) {
    if let Err(error) = sink.store.delete(path).await {
        tracing::debug!("{error:#}");
    }
}

fn superseded(theirs: anyhow::Result<Footer>) -> What {
    match theirs {
        Ok(footer) => What::Superseded { next: footer.next },
        Err(error) => What::Failed(error),
    }
}

/// The footer of the file that was there before ours.
fn in_the_way(theirs: &Bytes, ours: &File) -> anyhow::Result<Footer> {
    reader::footer(theirs).with_context(|| format!("{} is in the way", ours.path))
}

/// Creates a file; `None` when it is there with our bytes, otherwise the bytes that were there before.
async fn create(sink: &Sink, file: &File) -> Option<Bytes> {
    let created = persist(sink, "publishing", || {
        sink.store.create(&file.path, file.bytes.clone())
    })
    .await;
    match created {
        Creation::Created => None,
        // An earlier try succeeded although its answer was lost, or a peer wrote the very same.
        Creation::Exists(theirs) if theirs == file.bytes => None,
        Creation::Exists(theirs) => Some(theirs),
    }
}

/// Tries until it succeeds, with growing waits, unready meanwhile: a full disk or a store that is away loses nothing,
/// because the batch stays in memory and its position is not passed.
pub(super) async fn persist<T, Try>(sink: &Sink, what: &str, attempt: impl Fn() -> Try) -> T
where
    Try: Future<Output = anyhow::Result<T>>,
{
    let mut wait = BACKOFF.0;
    loop {
        match attempt().await {
            Ok(done) => {
                if wait > BACKOFF.0 {
                    sink.store_part.succeeded();
                }
                return done;
            }
            Err(error) => {
                sink.store_part.failed(format!("{what}: {error:#}"));
                metrics::counter!("tidemill_store_failures_total").increment(1);
                tracing::warn!(again_in = ?wait, "{what} failed: {error:#}");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(BACKOFF.1);
            }
        }
    }
}
