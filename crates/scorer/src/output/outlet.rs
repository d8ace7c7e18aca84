//! Publishes a worker's batches one after the other, on a thread of its own: meanwhile the worker collects and scores
//! the next one.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;
use std::time::Instant;

use anyhow::anyhow;
use tidemill_core::clock::now_ms;
use tidemill_core::kafka::{Consumer, StoredPosition};
use tidemill_core::metric::stage;
use tokio_util::sync::CancellationToken;

use crate::input::batch::Batch;
use crate::output::delivery::{Delivery, Outcome};
use crate::output::records::Publisher;
use crate::scoring::Scored;
use crate::shared::Shared;

/// The way to the publishing thread, which has one batch at a time.
pub(crate) struct Outlet<'s> {
    work: Sender<Work<'s>>,
    done: Receiver<anyhow::Result<Done<'s>>>,
    /// The result of the batch, from when it was noticed until it is waited for.
    ended: Option<anyhow::Result<Done<'s>>>,
}

/// A scored batch, and the positions after it.
pub(crate) struct Work<'s> {
    pub(crate) batch: Batch<'s>,
    pub(crate) scored: Scored,
    pub(crate) positions: Vec<(i32, StoredPosition<u64>)>,
}

/// A batch whose publishing has ended.
pub(crate) struct Done<'s> {
    /// Cleared.
    pub(crate) batch: Batch<'s>,
    pub(crate) outcome: Outcome,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
}

impl<'s> Outlet<'s> {
    pub(crate) fn open<'w>(
        scope: &'w Scope<'w, 's>,
        shared: &'s Shared,
        consumer: &'s Consumer,
        mut delivery: Delivery,
        shutdown: CancellationToken,
    ) -> Self {
        let (work, waiting) = channel::<Work<'s>>();
        let (tell, done) = channel();
        let mut publisher = Publisher::new(&shared.config);
        let mut publish = move |work: Work<'s>| {
            let began = Instant::now();
            let (mut batch, scored) = (work.batch, work.scored);
            let outcome = delivery.publish(consumer, &work.positions, &shutdown, |producer| {
                publisher.send(
                    producer,
                    &shared.dead_letters,
                    &batch,
                    &scored,
                    &work.positions,
                )
            })?;
            let ended = Instant::now();
            stage("publish", ended - began);
            if outcome == Outcome::Committed {
                publisher.published(shared, &batch, &scored, now_ms());
            }
            batch.clear();
            Ok(Done {
                batch,
                outcome,
                began,
                ended,
            })
        };
        scope.spawn(move || {
            // Nobody waits for the last one when the worker has failed.
            for work in waiting {
                tell.send(publish(work)).ok();
            }
        });
        Outlet {
            work,
            done,
            ended: None,
        }
    }

    /// True once the batch that was put has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.done.try_recv().ok();
        }
        self.ended.is_some()
    }

    /// Has a batch published. The one before it has been waited for.
    pub(crate) fn put(&mut self, work: Work<'s>) {
        // If the thread is gone, waiting for it tells.
        self.work.send(work).ok();
    }

    /// Waits until the batch that was put has ended.
    pub(crate) fn wait(&mut self) -> anyhow::Result<Done<'s>> {
        match self.ended.take() {
            Some(done) => done,
            None => self
                .done
                .recv()
                .map_err(|_| anyhow!("publishing panicked"))?,
        }
    }
}
