//! Publishing a batch under either guarantee: exactly once, or at least once.

use std::time::{Duration, Instant};

use tidemill_core::kafka::{Consumer, Producer};
use tokio_util::sync::CancellationToken;

use crate::settings::{Config, Guarantee};
pub use crate::transaction::Outcome;
use crate::transaction::Transactions;

/// How long records may take to be acknowledged, at least once; longer is a failed batch.
const ACKNOWLEDGE: Duration = Duration::from_secs(30);

/// Between two commits of positions, at least once. The brokers take milliseconds for each, and the
/// consumer's heartbeats queue up behind them: one for each batch would cost the membership.
const COMMIT: Duration = Duration::from_millis(250);

/// A worker's way to the output topics.
pub enum Delivery {
    /// Records and positions in one transaction.
    ExactlyOnce(Transactions),
    /// Records first, and positions once they are acknowledged.
    AtLeastOnce(AtLeastOnce),
}

/// Publishes records before their positions.
pub struct AtLeastOnce {
    producer: Producer,
    /// Positions that are published up to, but not committed yet.
    open: Vec<(i32, i64)>,
    committed: Instant,
}

impl Delivery {
    /// Opens the way for one worker.
    ///
    /// # Errors
    ///
    /// The brokers do not answer within the connect timeout.
    pub fn open(
        config: &Config,
        worker: usize,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let shared = &config.shared;
        Ok(match config.guarantee {
            Guarantee::ExactlyOnce => {
                let id = format!("{}-{}-{worker}", shared.group, config.instance);
                let timeout = shared.connect_timeout;
                Delivery::ExactlyOnce(Transactions::open(&shared.kafka, &id, timeout, shutdown)?)
            }
            Guarantee::AtLeastOnce => Delivery::AtLeastOnce(AtLeastOnce {
                producer: Producer::open(&shared.kafka)?,
                open: Vec::new(),
                committed: Instant::now(),
            }),
        })
    }

    /// Publishes what `send` queues, together with the positions after it.
    ///
    /// # Errors
    ///
    /// Those after which going on is pointless; everything else is an [`Outcome`].
    pub fn publish(
        &mut self,
        consumer: &Consumer,
        positions: &[(i32, i64)],
        shutdown: &CancellationToken,
        send: impl FnOnce(&Producer) -> anyhow::Result<()>,
    ) -> anyhow::Result<Outcome> {
        match self {
            Delivery::ExactlyOnce(transactions) => match transactions.begun().and_then(send) {
                Ok(()) => transactions.commit(consumer, positions, shutdown),
                Err(error) => {
                    transactions.undo(&error, shutdown)?;
                    Ok(Outcome::Undone)
                }
            },
            Delivery::AtLeastOnce(delivery) => Ok(delivery.publish(consumer, positions, send)),
        }
    }

    /// Commits the positions that are due, without waiting. To be called while nothing arrives.
    pub fn idle(&mut self, consumer: &Consumer) {
        if let Delivery::AtLeastOnce(delivery) = self {
            delivery.commit_due(consumer);
        }
    }

    /// Commits everything published, before partitions are let go. Failing costs only repetition.
    pub fn settle(&mut self, consumer: &Consumer) {
        if let Delivery::AtLeastOnce(delivery) = self
            && !delivery.open.is_empty()
            && let Err(error) = consumer.commit(&std::mem::take(&mut delivery.open))
        {
            tracing::warn!("the last records will be scored again: {error:#}");
        }
    }
}

impl AtLeastOnce {
    fn publish(
        &mut self,
        consumer: &Consumer,
        positions: &[(i32, i64)],
        send: impl FnOnce(&Producer) -> anyhow::Result<()>,
    ) -> Outcome {
        let sent = send(&self.producer).and_then(|()| self.producer.flush(ACKNOWLEDGE));
        if let Err(error) = sent {
            tracing::warn!("batch failed, going back to the committed positions: {error:#}");
            self.open.clear();
            return Outcome::Undone;
        }
        for (partition, position) in positions {
            match self.open.iter_mut().find(|(other, _)| other == partition) {
                Some((_, open)) => *open = *position,
                None => self.open.push((*partition, *position)),
            }
        }
        self.commit_due(consumer);
        Outcome::Committed
    }

    fn commit_due(&mut self, consumer: &Consumer) {
        if !self.open.is_empty() && self.committed.elapsed() >= COMMIT {
            self.committed = Instant::now();
            if consumer.commit_hint(&self.open) {
                self.open.clear();
            }
        }
    }
}
