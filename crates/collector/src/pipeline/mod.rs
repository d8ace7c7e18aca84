//! One partition's way into the data set: its batches are encoded and published strictly in their order.
//!
//! Order is what makes the files a position: a file may only become visible when all before it are. Encoding and
//! publishing are two tasks, so that the next file is encoded while the store still works on this one.

pub(crate) mod batch;
pub(crate) mod encoders;
pub(crate) mod premises;
mod publish;
pub(crate) mod retry;

use crate::dataset::footer::Footer;
use crate::dataset::known_partitions::KnownPartitions;
use crate::dataset::store::Store;
use crate::dataset::topic::Topic;
use crate::encode::frozen::{Freezer, Frozen};
use crate::encode::{Codec, Encoded, encode};
use crate::features::History;
use anyhow::Context;
use batch::Batch;
use encoders::Encoders;
use premises::Premises;
use publish::publish_all;
use retry::Outages;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;
use tidemill_core::claim::Resolver;
use tidemill_core::health::Health;
use tidemill_core::metric::stage;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The parts that all lanes of a process share.
#[derive(Clone)]
pub(crate) struct Sink {
    /// The topic.
    pub(crate) topic: Topic,
    /// The data set.
    pub(crate) store: Store,
    /// Headers are kept.
    pub(crate) headers: bool,
    /// Fetches claimed objects.
    pub(crate) resolver: Resolver,
    /// Its schema.
    pub(crate) freezer: Arc<Freezer>,
    /// The compression of its files.
    pub(crate) codec: Codec,
    /// The history that point-in-time features are computed from.
    pub(crate) history: Option<Arc<History>>,
    /// Encode the files.
    pub(crate) encoders: Encoders,
    /// Takes in the workers' states.
    pub(crate) health: Arc<Health>,
    /// The state of the data set's partitions as this process knows it.
    pub(crate) known: KnownPartitions,
    /// The number of the topic's partitions in a bounded run, which begins all of them.
    pub(crate) partitions: Option<i32>,
    /// `--from`, in milliseconds since the epoch.
    pub(crate) from: Option<i64>,
    /// The premises of the run.
    pub(crate) premises: Premises,
    /// Outages of the data set's store and of the claims'.
    pub(crate) outages: Outages,
    /// Runs the lanes.
    pub(crate) runtime: Handle,
}

impl Sink {
    /// Tries until it succeeds, unready meanwhile: a full disk or a store that is away loses nothing, because the batch
    /// stays in memory and its position is not passed.
    ///
    /// Errors: those that no other try would heal.
    async fn persist<T, Try>(&self, what: &str, attempt: impl Fn() -> Try) -> anyhow::Result<T>
    where
        Try: Future<Output = anyhow::Result<T>>,
    {
        let counted = || async {
            let outcome = attempt().await;
            if outcome.is_err() {
                metrics::counter!("tidemill_store_failures_total").increment(1);
            }
            outcome
        };
        self.outages.retry(what, counted).await
    }
}

/// The outcome of a batch.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The lane's number.
    pub(crate) lane: u64,
    /// The partition.
    pub(crate) partition: i32,
    /// The fate of the batch.
    pub(crate) what: What,
}

/// The fate of a batch.
#[derive(Debug)]
pub(crate) enum What {
    /// Its records are in the data set; a peer may have published them.
    Published(Box<Footer>),
    /// A peer has published other records from the same position; its file ends at `next`. The lane has ended.
    Superseded {
        /// The position at which to go on.
        next: i64,
    },
    /// It cannot become files, however often that is tried; the lane has ended.
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

    /// Queues a batch. A lane that has ended drops it; the lane's outcome carries the reason.
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
    /// Sends an outcome. The receiver is gone only if the worker has ended.
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
    while let Some(batch) = batches.recv().await {
        let files = match prepare(&sink, tell.partition, batch).await {
            Ok(files) => files,
            Err(error) => return tell.tell(What::Failed(error)),
        };
        if encoded.send(files).await.is_err() {
            // The publishing task has ended and told why.
            return;
        }
    }
}

async fn prepare(sink: &Sink, partition: i32, mut batch: Batch) -> anyhow::Result<Encoded> {
    resolve(sink, &mut batch).await?;
    let frozen = sink.freezer.get().context("records without a schema")?;
    let encoding = encode_one(sink, partition, batch, frozen);
    let (encoded, confirmed) = tokio::join!(encoding, sink.premises.confirm_topic());
    confirmed?;
    encoded
}

/// Fetches the batch's claimed objects, retrying for as long as their store fails.
async fn resolve(sink: &Sink, batch: &mut Batch) -> anyhow::Result<()> {
    let mut contents = BTreeMap::new();
    for claim in batch.claims() {
        let fetch = || async { Ok(sink.resolver.fetch(claim.value).await?) };
        let content = sink.persist("fetching a claimed object", fetch).await?;
        contents.insert(claim.offset, content);
    }
    batch.resolved(contents);
    Ok(())
}

async fn encode_one(
    sink: &Sink,
    partition: i32,
    batch: Batch,
    frozen: Arc<Frozen>,
) -> anyhow::Result<Encoded> {
    let (topic, codec, history) = (sink.topic.clone(), sink.codec, sink.history.clone());
    let work = move || {
        let started = Instant::now();
        let encoded = encode(&topic, partition, batch, &frozen, codec, history.as_deref());
        stage("encode", started.elapsed());
        encoded
    };
    sink.encoders.run(work).await?
}

#[cfg(test)]
pub(crate) mod tests;
