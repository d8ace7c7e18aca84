//! Kafka transactions: everything published for a batch and the positions after it, or nothing.
//!
//! librdkafka tells three kinds of error apart. Retriable: call again. Abortable: abort, and go back
//! to what is committed. Fatal, most of all fenced: this producer is of no more use. A commit that
//! got no answer counts as fatal too: the brokers may still carry it out, even after the next
//! transaction has begun; only a new producer's first step, which waits for it or undoes it, tells.
//!
//! Two producers take turns. The brokers go on writing a transaction's end into the logs after they
//! have confirmed it, and make the same producer wait, in steps of 20 ms, before its next one; the
//! other producer need not wait. Their transactions never overlap: one begins when the one before it
//! is confirmed, so positions and records keep their order.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use tidemill_core::exit::Failure;
use tidemill_core::kafka::{Consumer, KafkaConfig, Producer};
use tokio_util::sync::CancellationToken;

/// The brokers abort a transaction that is open for longer. Readers of committed records wait that
/// long for a process that died in one and does not come back under its name.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one step other than the commit may take.
const STEP: Duration = Duration::from_secs(10);

/// This many fencings within a minute mean that another process runs under the same name.
const FENCINGS: usize = 5;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Published, with the positions.
    Committed,
    /// Not published, or not known to be: the committed positions tell where to go on.
    Undone,
}

/// One worker's transactional producers.
pub struct Transactions {
    kafka: KafkaConfig,
    lanes: [Lane; 2],
    /// Whose turn it is.
    turn: usize,
    /// Whether a transaction is open.
    open: bool,
    fenced: Vec<Instant>,
}

/// A producer with its transactional id.
struct Lane {
    id: String,
    producer: Producer,
}

/// What an error asks for.
#[derive(Debug, PartialEq, Eq)]
enum Remedy {
    Retry,
    Abort,
    Rebuild,
}

impl Transactions {
    /// Producers of transactions whose ids start with `id`, trying for `timeout`. A predecessor with
    /// the same id is fenced, and what it left open is aborted.
    ///
    /// # Errors
    ///
    /// The brokers do not answer in time.
    pub fn open(
        kafka: &KafkaConfig,
        id: &str,
        timeout: Duration,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let deadline = Instant::now() + timeout;
        let open = |id: String| {
            let producer = create(kafka, &id)?;
            while let Err(error) = producer.inner().init_transactions(Duration::from_secs(1)) {
                if Instant::now() > deadline || shutdown.is_cancelled() {
                    return Err(Failure::unreachable(format!(
                        "no transaction coordinator answered within {timeout:?}: {error}; check \
                         that the brokers are up and that this client may use transactional id {id}"
                    )));
                }
                tracing::debug!(%error, "transactions are not ready yet");
            }
            Ok(Lane { id, producer })
        };
        let lanes = [open(format!("{id}-a"))?, open(format!("{id}-b"))?];
        Ok(Transactions {
            kafka: kafka.clone(),
            lanes,
            turn: 0,
            open: false,
            fenced: Vec::new(),
        })
    }

    fn producer(&self) -> &Producer {
        &self.lanes[self.turn].producer
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
    /// Those after which going on is pointless.
    pub fn commit(
        &mut self,
        consumer: &Consumer,
        positions: &[(i32, i64)],
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

    fn try_commit(&self, consumer: &Consumer, positions: &[(i32, i64)]) -> anyhow::Result<()> {
        // The client's own commit waits for deliveries in steps of 100 ms.
        self.producer().flush(STEP)?;
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, position) in positions {
            let position = Offset::Offset(*position);
            list.add_partition_offset(consumer.topic(), *partition, position)?;
        }
        // Fetched anew: it holds the group's generation, which fences a member that was cast out.
        let member = consumer.group_metadata()?;
        let inner = self.producer().inner();
        let deadline = Instant::now() + STEP;
        while let Err(error) = inner.send_offsets_to_transaction(&list, &member, STEP) {
            if remedy(&error) != Remedy::Retry || Instant::now() > deadline {
                return Err(error).context("adding the positions");
            }
        }
        // Without a limit of its own it ends with the transaction's.
        inner
            .commit_transaction(Timeout::Never)
            .context("committing")
    }

    /// Undoes the open transaction after `error`, with a new producer where the old one is of no more
    /// use.
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
        tracing::warn!("transaction undone, going back to the committed positions: {error:#}");
        self.open = false;
        let cause = error.downcast_ref::<KafkaError>();
        // What is no Kafka error is a failed delivery, which wants an abort.
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
        let id = self.lanes[self.turn].id.clone();
        tracing::warn!(%error, id, "making a new transactional producer");
        if self.is_fenced(error) {
            self.fenced
                .retain(|at| at.elapsed() < Duration::from_secs(60));
            self.fenced.push(Instant::now());
            if self.fenced.len() >= FENCINGS {
                bail!(
                    "fenced {FENCINGS} times within a minute: another process uses transactional \
                     id {id}; give each process its own --instance"
                );
            }
        }
        let mut producer = create(&self.kafka, &id)?;
        while let Err(error) = producer.inner().init_transactions(STEP) {
            if shutdown.is_cancelled() {
                bail!("stopped while the brokers did not answer: {error}");
            }
            if remedy(&error) != Remedy::Retry {
                tracing::warn!(%error, id, "the new producer failed, making another");
                std::thread::sleep(Duration::from_millis(500));
                producer = create(&self.kafka, &id)?;
            }
        }
        self.lanes[self.turn].producer = producer;
        Ok(())
    }

    fn is_fenced(&self, error: &KafkaError) -> bool {
        let codes = [RDKafkaErrorCode::Fenced, RDKafkaErrorCode::ProducerFenced];
        let fatal = self
            .producer()
            .inner()
            .client()
            .fatal_error()
            .map(|(code, _)| code);
        let own = error.rdkafka_error_code();
        [fatal, own]
            .into_iter()
            .flatten()
            .any(|code| codes.contains(&code))
    }
}

fn create(kafka: &KafkaConfig, id: &str) -> anyhow::Result<Producer> {
    let mut config = kafka.producer();
    config.set("transactional.id", id);
    config.set(
        "transaction.timeout.ms",
        TRANSACTION_TIMEOUT.as_millis().to_string(),
    );
    // A record that is not delivered by then is not in time for its transaction.
    config.set(
        "message.timeout.ms",
        TRANSACTION_TIMEOUT.as_millis().to_string(),
    );
    Producer::create(&config)
}

/// What an error of a transactional call asks for.
fn remedy(error: &KafkaError) -> Remedy {
    match error {
        KafkaError::Transaction(error) if error.is_fatal() => Remedy::Rebuild,
        KafkaError::Transaction(error) if error.txn_requires_abort() => Remedy::Abort,
        KafkaError::Transaction(error) if error.is_retriable() => Remedy::Retry,
        KafkaError::Flush(_) | KafkaError::MessageProduction(_) => Remedy::Abort,
        _ => Remedy::Rebuild,
    }
}
