//! One partition's way into the data set: its batches are encoded and published strictly in their order.
//!
//! Order is what makes the files a position: a file may only become visible when all before it are. Encoding and
//! publishing are two tasks, so that the next file is encoded while the store still works on this one.

use crate::buffer::Batch;
use crate::encode::{Codec, Encoded, File, encode};
use crate::features::History;
use crate::footer::Footer;
use crate::frozen::{Freezer, Frozen};
use crate::reader;
use crate::store::{Creation, Store};
use anyhow::Context;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use tidemill_core::admin::Health;
use tidemill_core::claim::Resolver;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// First and longest wait before a failed write is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// What all lanes of a process share.
#[derive(Clone)]
pub(crate) struct Sink {
    /// The topic.
    pub(crate) topic: Arc<str>,
    /// The data set.
    pub(crate) store: Store,
    /// Fetches what claims stand for.
    pub(crate) resolver: Resolver,
    /// Its schema.
    pub(crate) freezer: Arc<Freezer>,
    /// How its files are compressed.
    pub(crate) codec: Codec,
    /// The history that point-in-time features are computed from.
    pub(crate) history: Option<Arc<History>>,
    /// Bounds how many files are encoded at a time.
    pub(crate) encoders: Arc<Semaphore>,
    /// Told when the store does not take a file.
    pub(crate) health: Arc<Health>,
    /// Runs the lanes.
    pub(crate) runtime: Handle,
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The lane's number.
    pub(crate) lane: u64,
    /// The partition.
    pub(crate) partition: i32,
    /// What happened.
    pub(crate) what: What,
}

/// What happened to a batch.
#[derive(Debug)]
pub(crate) enum What {
    /// Its records are in the data set, whoever published them.
    Published(Footer),
    /// A peer has published other records from the same position; its file ends at `next`. The lane has ended.
    Superseded {
        /// Where to go on.
        next: i64,
    },
    /// A fault of ours; the lane has ended.
    Failed(anyhow::Error),
}

/// The end of a lane that batches are given to. Dropping it lets what was given finish.
pub(crate) struct Lane {
    number: u64,
    batches: mpsc::UnboundedSender<Batch>,
    tasks: [JoinHandle<()>; 2],
}

impl Lane {
    /// Opens a lane; `number` tells its outcomes from those of the partition's earlier lanes.
    pub(crate) fn open(
        sink: &Sink,
        partition: i32,
        number: u64,
        outcomes: Sender<Outcome>,
    ) -> Self {
        // Bounded by the worker, which counts what it has given.
        let (batches, given) = mpsc::unbounded_channel();
        let (encoded, publishable) = mpsc::channel(1);
        let tell = Tell {
            lane: number,
            partition,
            outcomes,
        };
        let tasks = [
            sink.runtime
                .spawn(encode_all(sink.clone(), given, encoded, tell.clone())),
            sink.runtime
                .spawn(publish_all(sink.clone(), publishable, tell)),
        ];
        Self {
            number,
            batches,
            tasks,
        }
    }

    /// The lane's number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Gives a batch on its way. A lane that has ended takes none; its outcome says why.
    pub(crate) fn give(&self, batch: Batch) {
        self.batches.send(batch).ok();
    }

    /// Ends the lane at once: nothing more is published.
    pub(crate) fn abort(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[derive(Clone)]
struct Tell {
    lane: u64,
    partition: i32,
    outcomes: Sender<Outcome>,
}

impl Tell {
    /// Nobody listens any more only when the worker has ended.
    fn tell(&self, what: What) {
        let outcome = Outcome {
            lane: self.lane,
            partition: self.partition,
            what,
        };
        self.outcomes.send(outcome).ok();
    }
}

async fn encode_all(
    sink: Sink,
    mut batches: mpsc::UnboundedReceiver<Batch>,
    encoded: mpsc::Sender<Encoded>,
    tell: Tell,
) {
    while let Some(mut batch) = batches.recv().await {
        resolve(&sink, &mut batch).await;
        let Ok(_permit) = sink.encoders.acquire().await else {
            return;
        };
        let frozen = persist(&sink, "freezing the schema", || {
            sink.freezer.get_or_infer(&batch)
        })
        .await;
        let files = match encode_one(&sink, tell.partition, batch, frozen).await {
            Ok(files) => files,
            Err(error) => return tell.tell(What::Failed(error)),
        };
        if encoded.send(files).await.is_err() {
            // The publishing task has ended and told why.
            return;
        }
    }
}

/// Fetches what the batch's claims stand for, trying for as long as their store fails.
async fn resolve(sink: &Sink, batch: &mut Batch) {
    let mut contents = BTreeMap::new();
    for claim in batch.claims() {
        let content = persist(sink, "fetching a claimed object", || async {
            Ok(sink.resolver.fetch(claim.value).await?)
        });
        contents.insert(claim.offset, content.await);
    }
    batch.resolved(contents);
}

async fn encode_one(
    sink: &Sink,
    partition: i32,
    batch: Batch,
    frozen: Arc<Frozen>,
) -> anyhow::Result<Encoded> {
    let (topic, codec, history) = (sink.topic.clone(), sink.codec, sink.history.clone());
    let work = move || {
        encode(
            &topic,
            partition,
            &batch,
            &frozen,
            codec,
            history.as_deref(),
        )
    };
    let encoded = tokio::task::spawn_blocking(work).await;
    encoded.context("encoding a file")?
}

async fn publish_all(sink: Sink, mut encoded: mpsc::Receiver<Encoded>, tell: Tell) {
    while let Some(files) = encoded.recv().await {
        let what = publish(&sink, files).await;
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
        return superseded(&theirs, gap);
    }
    if let Some(rejects) = &files.rejects {
        // One that is there already tells of the same records: it was left by a process that got no further.
        create(sink, rejects).await;
    }
    let Some(theirs) = create(sink, &files.data).await else {
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
        return What::Published(files.footer);
    };
    let what = superseded(&theirs, &files.data);
    if let (What::Superseded { next }, Some(rejects)) = (&what, &files.rejects)
        && *next != files.footer.next
        && let Err(error) = sink.store.delete(&rejects.path).await
    {
        // Its range is no file's, so that nobody counts it; the next start deletes it.
        tracing::debug!("{error:#}");
    }
    what
}

fn superseded(theirs: &Bytes, ours: &File) -> What {
    match reader::footer(theirs).with_context(|| format!("{} is in the way", ours.path)) {
        Ok(footer) => What::Superseded { next: footer.next },
        Err(error) => What::Failed(error),
    }
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
async fn persist<T, Try>(sink: &Sink, what: &str, attempt: impl Fn() -> Try) -> T
where
    Try: Future<Output = anyhow::Result<T>>,
{
    let mut wait = BACKOFF.0;
    loop {
        match attempt().await {
            Ok(done) => {
                if wait > BACKOFF.0 {
                    sink.health.ready("store");
                }
                return done;
            }
            Err(error) => {
                sink.health.unready("store", format!("{what}: {error:#}"));
                metrics::counter!("tidemill_store_failures_total").increment(1);
                tracing::warn!(again_in = ?wait, "{what} failed: {error:#}");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(BACKOFF.1);
            }
        }
    }
}

#[cfg(test)]
mod tests;
