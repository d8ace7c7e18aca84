//! Kafka transactions: everything published for a batch and the positions after it, or nothing.
//!
//! librdkafka tells three kinds of error apart. Retriable: call again. Abortable: abort, and go back
//! to what is committed. Fatal, most of all fenced: this producer cannot be used any more. A commit that
//! got no answer counts as fatal too: the brokers may still carry it out, even after the next
//! transaction has begun; only a new producer's first step, which waits for it or undoes it, finds out.
//!
//! Two producers take turns. The brokers go on writing a transaction's end into the logs after they
//! have confirmed it, and make the same producer wait, in steps of 20 ms, before its next one; the
//! other producer need not wait. Their transactions never overlap: one begins when the one before it
//! is confirmed, so positions and records keep their order.

use std::time::{Duration, Instant};

use anyhow::Context;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer as _;
use rdkafka::util::Timeout;
use tidemill_core::exit::Failure;
use tidemill_core::kafka::{
    Consumer, KafkaConfig, Producer, StoredPosition, client_error, in_words,
};
use tidemill_core::metric::stage;
use tokio_util::sync::CancellationToken;

use super::transactional_producer::{Remedy, TransactionalProducer, remedy};

/// Time limit for one step other than the commit.
const STEP: Duration = Duration::from_secs(10);

/// This many fencings within a minute mean that another process runs under the same name.
const FENCINGS: usize = 5;

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The brokers have the records and the positions.
    Committed,
    /// They have not, or it is not known: the worker goes back to the committed positions.
    Undone,
}

/// One worker's transactional producers.
pub struct Transactions {
    kafka: KafkaConfig,
    producers: [TransactionalProducer; 2],
    /// The index of the producer of the next transaction.
    turn: usize,
    /// True while a transaction is open.
    open: bool,
    fenced: Vec<Instant>,
}

impl Transactions {
    /// Producers of transactions whose ids start with `id`, trying for `timeout`. A predecessor with
    /// the same id is fenced, and its open transaction is aborted. `None` if stopped meanwhile.
    ///
    /// # Errors
    ///
    /// The brokers do not answer in time.
    pub fn open(
        kafka: &KafkaConfig,
        id: &str,
        timeout: Duration,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let open =
            |side| TransactionalProducer::open(kafka, format!("{id}-{side}"), timeout, shutdown);
        let (Some(one), Some(other)) = (open('a')?, open('b')?) else {
            return Ok(None);
        };
        let producers = [one, other];
        Ok(Some(Transactions {
            kafka: kafka.clone(),
            producers,
            turn: 0,
            open: false,
            fenced: Vec::new(),
        }))
    }

    fn producer(&self) -> &Producer {
        self.producers[self.turn].producer()
    }

    /// The producer, with a transaction open.
    ///
    /// # Errors
    ///
    /// None can be opened; [`Transactions::undo`] says what to do.
    pub fn begun(&mut self) -> anyhow::Result<&Producer> {
        if !self.open {
            self.producer().inner().begin_transaction()?;
            self.open = true;
        }
        Ok(self.producer())
    }

    /// Commits what was sent, and `positions` with it.
    ///
    /// # Errors
    ///
    /// Only errors after which going on is pointless.
    pub fn commit(
        &mut self,
        consumer: &Consumer,
        positions: &[(i32, StoredPosition<u64>)],
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Outcome> {
        match self.try_commit(consumer, positions) {
            Ok(()) => {
                self.open = false;
                self.turn = 1 - self.turn;
                Ok(Outcome::Committed)
            }
            Err(error) => {
                self.undo(&error, shutdown)?;
                Ok(Outcome::Undone)
            }
        }
    }

    fn try_commit(
        &self,
        consumer: &Consumer,
        positions: &[(i32, StoredPosition<u64>)],
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        let list = consumer.offsets(positions)?;
        // Fetched anew: it holds the group's generation, which fences a member that was cast out.
        let member = consumer.group_metadata()?;
        let inner = self.producer().inner();
        let deadline = Instant::now() + STEP;
        // The positions go their way while the records, which were queued before, go theirs.
        while let Err(error) = inner.send_offsets_to_transaction(&list, &member, STEP) {
            if remedy(&error) != Remedy::Retry || Instant::now() > deadline {
                return Err(error).context("adding the positions");
            }
        }
        stage("positions", started.elapsed());
        let started = Instant::now();
        // The client's own commit waits for deliveries in steps of 100 ms.
        self.producer().flush(STEP)?;
        stage("acknowledge", started.elapsed());
        let started = Instant::now();
        // Without a limit of its own it ends with the transaction's.
        inner
            .commit_transaction(Timeout::Never)
            .context("committing")?;
        stage("commit", started.elapsed());
        Ok(())
    }

    /// Undoes the open transaction after `error`, with a new producer where the old one cannot be used
    /// any more.
    ///
    /// # Errors
    ///
    /// Other processes keep fencing this one, or a new producer is refused for good.
    pub fn undo(
        &mut self,
        error: &anyhow::Error,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        metrics::counter!("tidemill_transactions_undone_total").increment(1);
        self.open = false;
        let cause = error.downcast_ref::<KafkaError>();
        match cause.and_then(KafkaError::rdkafka_error_code) {
            Some(Code::IllegalGeneration | Code::UnknownMemberId | Code::RebalanceInProgress) => {
                tracing::info!(
                    "rebalance during a batch: transaction undone, its records are read again"
                );
            }
            _ => tracing::warn!(
                "transaction undone, its records are read again: {}",
                in_words(error)
            ),
        }
        // An error that is not Kafka's is a failed delivery, which wants an abort.
        if cause.is_none_or(|cause| remedy(cause) == Remedy::Abort) {
            match self.producer().inner().abort_transaction(STEP) {
                Ok(()) => {
                    // Deliveries that failed because of the abort are no news.
                    self.producer().failure();
                    return Ok(());
                }
                Err(error) => return self.rebuild(&error, shutdown),
            }
        }
        match cause {
            Some(cause) => self.rebuild(cause, shutdown),
            None => Ok(()),
        }
    }

    fn rebuild(&mut self, error: &KafkaError, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let own = &mut self.producers[self.turn];
        let fenced = own.is_fenced(error);
        let (id, why) = (own.id(), client_error(error));
        match fenced {
            true => tracing::warn!(id, "making a new transactional producer: {why}"),
            false => tracing::info!(id, "making a new transactional producer: {why}"),
        }
        if fenced {
            self.fenced
                .retain(|at| at.elapsed() < Duration::from_secs(60));
            self.fenced.push(Instant::now());
            if self.fenced.len() >= FENCINGS {
                return Err(Failure::usage(format!(
                    "fenced {FENCINGS} times within a minute: another process uses transactional \
                     id {}; give each process its own --instance",
                    own.id()
                )));
            }
        }
        own.rebuild(&self.kafka, shutdown)
    }
}
