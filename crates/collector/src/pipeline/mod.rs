//! One partition's way into the data set: its batches are encoded and published strictly in their order.
//!
//! Order is what makes the files a position: a file may only become visible when all before it are. Encoding and
//! publishing are two tasks, so that the next file is encoded while the store still works on this one.

pub(crate) mod batch;
pub(crate) mod encoders;
pub(crate) mod encoding;
pub(crate) mod premises;
mod publish;
pub(crate) mod retry;

use crate::dataset::footer::Footer;
use crate::dataset::offset::Offset;
use crate::dataset::open::DataSet;
use crate::encode::Encoded;
use crate::page::Journal;
use anyhow::Context;
use batch::Batch;
use encoding::Encoding;
use premises::Premises;
use publish::publish_all;
use retry::Outages;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use tidemill_core::health::Health;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The parts that all lanes of a process share.
#[derive(Clone)]
pub(crate) struct Sink {
    /// The data set that the files go into.
    pub(crate) data_set: DataSet,
    /// Makes the files.
    pub(crate) encoding: Encoding,
    /// The premises of the run.
    pub(crate) premises: Premises,
    /// Outages of the data set's store and of the claims'.
    pub(crate) outages: Outages,
    /// Takes in the workers' states.
    pub(crate) health: Arc<Health>,
    /// Notes the files for the live page.
    pub(crate) journal: Arc<Journal>,
    /// Runs the lanes.
    pub(crate) runtime: Handle,
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
        next: Offset,
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
    let Sink {
        data_set, encoding, ..
    } = sink;
    encoding.resolve(&mut batch, &sink.outages).await?;
    let frozen = data_set.frozen().context("records without a schema")?;
    let files = encoding.encode(data_set.topic().clone(), partition, batch, frozen);
    let (encoded, confirmed) = tokio::join!(files, sink.premises.confirm_topic());
    confirmed?;
    encoded
}

#[cfg(test)]
pub(crate) mod tests;
