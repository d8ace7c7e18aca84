//! The publishing half of a lane: a batch's files become visible in their order, whatever the store does.

use super::{Sink, Tell, What};
use crate::dataset::footer::Footer;
use crate::dataset::reader;
use crate::dataset::store::Creation;
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
    if let Some((gap, offsets)) = &files.gap {
        if let Some(theirs) = create(sink, gap).await? {
            return superseded(&theirs, gap);
        }
        // Counted here and not where it was noticed: from now on the data set itself tells of it.
        metrics::counter!("tidemill_lost_records_total").increment(*offsets);
    }
    if let Some(rejects) = &files.rejects {
        // One that is there already tells of the same records: it was left by a process that got no further.
        create(sink, rejects).await?;
    }
    let Some(theirs) = create(sink, &files.data).await? else {
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
        for (reason, count) in files.reasons {
            metrics::counter!("tidemill_rejected_total", "reason" => reason.code())
                .increment(count);
        }
        metrics::counter!("tidemill_files_total").increment(1);
        metrics::counter!("tidemill_file_bytes_total").increment(bytes as u64);
        return Ok(What::Published(files.footer));
    };
    let what = superseded(&theirs, &files.data)?;
    if let (What::Superseded { next }, Some(rejects)) = (&what, &files.rejects)
        && *next != files.footer.next
        && let Err(error) = sink.store.delete(&rejects.path).await
    {
        // Its range is no file's, so that nobody counts it; the next start deletes it.
        tracing::debug!("{error:#}");
    }
    Ok(what)
}

fn superseded(theirs: &Bytes, ours: &File) -> anyhow::Result<What> {
    let footer = reader::footer(theirs).with_context(|| format!("{} is in the way", ours.path))?;
    Ok(What::Superseded { next: footer.next })
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
