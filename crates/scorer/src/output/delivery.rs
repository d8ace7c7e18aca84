//! Publishing a batch under either guarantee: exactly once, or at least once.

use std::time::Duration;

use tidemill_core::kafka::{Consumer, Producer, StoredPosition, in_words};
use tokio_util::sync::CancellationToken;

pub use crate::output::transaction::Outcome;
use crate::output::transaction::Transactions;
use crate::settings::{Config, Guarantee};

/// Time limit for the acknowledgement of records, at least once; a batch that takes longer has failed.
const ACKNOWLEDGE: Duration = Duration::from_secs(30);

/// A worker's way to the output topics.
pub enum Delivery {
    /// Records and positions in one transaction.
    ExactlyOnce(Transactions),
    /// Records first, and positions once they are acknowledged.
    AtLeastOnce(Producer),
}

impl Delivery {
    /// Opens the way for one worker; `None` if stopped before the brokers answered.
    ///
    /// # Errors
    ///
    /// The brokers do not answer within the connect timeout.
    pub fn open(
        config: &Config,
        worker: usize,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let shared = &config.shared;
        Ok(Some(match config.guarantee {
            Guarantee::ExactlyOnce => {
                let id = format!("{}-{}-{worker}", shared.group, config.instance);
                let timeout = shared.connect_timeout;
                match Transactions::open(&shared.kafka, &id, timeout, shutdown)? {
                    Some(transactions) => Delivery::ExactlyOnce(transactions),
                    None => return Ok(None),
                }
            }
            Guarantee::AtLeastOnce => Delivery::AtLeastOnce(Producer::open(&shared.kafka)?),
        }))
    }

    /// Publishes what `send` queues, together with the positions after it.
    ///
    /// # Errors
    ///
    /// Only errors after which going on is pointless; everything else is an [`Outcome`].
    pub fn publish(
        &mut self,
        consumer: &Consumer,
        positions: &[(i32, StoredPosition<u64>)],
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
            Delivery::AtLeastOnce(producer) => {
                let sent = send(producer).and_then(|()| producer.flush(ACKNOWLEDGE));
                if let Err(error) = sent {
                    tracing::warn!(
                        "batch failed, going back to the committed positions: {}",
                        in_words(&error)
                    );
                    return Ok(Outcome::Undone);
                }
                // Never before the records are acknowledged: a lost hint costs only repetition.
                consumer.commit_hint(positions);
                Ok(Outcome::Committed)
            }
        }
    }
}
