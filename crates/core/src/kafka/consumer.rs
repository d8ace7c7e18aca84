//! The consumer of one worker: records and rebalances as one stream of events, positions as the worker says.
//!
//! librdkafka hands a rebalance to a callback and waits, for as long as `max.poll.interval.ms`, until it is
//! answered with an assign or unassign. The callback here only notes it; [`Consumer::poll`] returns it as an event
//! on the same thread, and [`Consumer::start`] or [`Consumer::release`] is the answer. So a worker's batch, sink and
//! state need no lock, and each partition is assigned once, at the position that the worker's own store holds.

use super::KafkaConfig;
use anyhow::{Context as _, anyhow};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, ConsumerGroupMetadata,
};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a question to the brokers may take.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// How often, at most, the group is told how far a worker is.
const BETWEEN_HINTS: Duration = Duration::from_millis(200);

/// What a poll brought.
pub enum Polled<'a> {
    /// The next record of one of the partitions.
    Record(Record<'a>),
    /// These partitions are the worker's from now on; it answers with [`Consumer::start`]. None at all, for a member
    /// that has nothing to do, needs no answer. None: it is a member of the
    /// group without partitions so far, and there is nothing to answer.
    Assigned(Vec<i32>),
    /// These are the worker's no longer; it answers with [`Consumer::release`].
    Revoked {
        /// The partitions.
        partitions: Vec<i32>,
        /// They may have another owner already: nothing more may be written for them.
        lost: bool,
    },
    /// The position of some partition is outside its log; the worker compares its positions with
    /// [`Consumer::log_range`] and seeks.
    OutOfRange,
    /// Nothing arrived in time.
    Idle,
}

/// One Kafka message with its coordinates, in the memory of the consumer.
pub struct Record<'a>(BorrowedMessage<'a>);

impl Record<'_> {
    /// The partition it lies in.
    pub fn partition(&self) -> i32 {
        self.0.partition()
    }

    /// Where in the partition it lies.
    pub fn offset(&self) -> i64 {
        self.0.offset()
    }

    /// The Kafka timestamp in milliseconds since the epoch.
    pub fn timestamp(&self) -> Option<i64> {
        self.0.timestamp().to_millis().filter(|millis| *millis >= 0)
    }

    /// The key; `None` when it is null.
    pub fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }

    /// The value; `None` when it is null.
    pub fn value(&self) -> Option<&[u8]> {
        self.0.payload()
    }

    /// The headers in their order; a header's value may be null.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let headers = self.0.headers().into_iter().flat_map(|all| all.iter());
        headers.map(|Header { key, value }| (key, value))
    }

    /// A copy of the headers, to be carried on.
    pub(super) fn owned_headers(&self) -> OwnedHeaders {
        self.0.headers().map(|all| all.detach()).unwrap_or_default()
    }
}

/// A member of a consumer group on one topic. One thread polls it; what asks the brokers may run on another.
pub struct Consumer {
    base: BaseConsumer<Rebalances>,
    topic: String,
    hints: Mutex<Hints>,
    /// The group that it is a member of.
    group: Option<String>,
}

/// A partition that a member reads: group, topic, number.
type Held = (String, String, i32);

/// What the members in this process read, for its lag metrics, which are as global as this.
static HELD: Mutex<BTreeSet<Held>> = Mutex::new(BTreeSet::new());

/// The partitions that members of `group` in this process read.
pub(super) fn held(group: &str, topic: &str) -> BTreeSet<i32> {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let own = held.iter().filter(|(g, t, _)| g == group && t == topic);
    own.map(|(_, _, partition)| *partition).collect()
}

/// How far the worker is, as far as the group has not been told.
#[derive(Default)]
struct Hints {
    untold: BTreeMap<i32, i64>,
    told: Option<Instant>,
}

enum Change {
    Assigned(Vec<i32>),
    Revoked { partitions: Vec<i32>, lost: bool },
}

/// Notes rebalances for [`Consumer::poll`], which runs the callbacks.
#[derive(Default)]
struct Rebalances {
    pending: Mutex<Option<Change>>,
    closing: AtomicBool,
    ended: Mutex<Vec<i32>>,
}

impl ConsumerContext for Rebalances {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let assigned = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        // Cooperative rebalances bring empty lists too; they, and those of a closing consumer, are answered at once.
        if list.count() == 0 || self.closing.load(Ordering::Relaxed) {
            let answer = if assigned {
                consumer.incremental_assign(&TopicPartitionList::new())
            } else {
                consumer.incremental_unassign(list)
            };
            if let Err(error) = answer {
                tracing::warn!(%error, "answering a rebalance");
            }
            // A member that gets nothing should know that it is one.
            let idle = || consumer.assignment().is_ok_and(|all| all.count() == 0);
            if assigned
                && idle()
                && let Ok(mut pending) = self.pending.lock()
            {
                pending.get_or_insert(Change::Assigned(Vec::new()));
            }
            return;
        }
        let partitions = list.elements().into_iter();
        let partitions = partitions.map(|element| element.partition()).collect();
        let change = if assigned {
            Change::Assigned(partitions)
        } else {
            let lost = consumer.assignment_lost();
            Change::Revoked { partitions, lost }
        };
        metrics::counter!("tidemill_rebalances_total").increment(1);
        if let Ok(mut pending) = self.pending.lock() {
            *pending = Some(change);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            // Another commit follows; a rebalance in between makes this one void.
            tracing::debug!(%error, "group commit failed");
        }
    }
}

impl ClientContext for Rebalances {
    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition comes as an error, here and from the poll, but is none.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        tracing::warn!(%error, reason, "kafka client");
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "{message}");
    }
}

impl Drop for Consumer {
    /// Leaves the group. An unanswered rebalance would hold up the client's own end for ever, and an error leaves
    /// many unanswered.
    fn drop(&mut self) {
        self.tell();
        self.base.context().closing.store(true, Ordering::Relaxed);
        let answered = match self.pending() {
            Some(Change::Revoked { partitions, .. }) => self.release(&partitions),
            Some(Change::Assigned(_)) => self.start(&[]),
            None => Ok(()),
        };
        if let Err(error) = answered {
            tracing::debug!("{error:#}");
        }
        if let Ok(assignment) = self.base.assignment() {
            let partitions = assignment.elements().into_iter();
            self.holds(partitions.map(|element| element.partition()), false);
        }
    }
}

impl Consumer {
    /// Joins `group` on `topic`.
    pub fn open(kafka: &KafkaConfig, group: &str, topic: &str) -> anyhow::Result<Self> {
        Self::join(&kafka.consumer(group), group, topic)
    }

    /// Joins `group` on `topic` under a name that no other member has. Whoever comes back under it has its
    /// predecessor's partitions at once, whether that one was killed or has ended well. The price: one that ends and does
    /// not come back is missed only when its session has run out.
    pub fn open_named(
        kafka: &KafkaConfig,
        group: &str,
        topic: &str,
        name: &str,
    ) -> anyhow::Result<Self> {
        let mut config = kafka.consumer(group);
        Self::join(config.set("group.instance.id", name), group, topic)
    }

    fn join(config: &ClientConfig, group: &str, topic: &str) -> anyhow::Result<Self> {
        let base: BaseConsumer<Rebalances> = config
            .create_with_context(Rebalances::default())
            .context("creating a Kafka consumer")?;
        base.subscribe(&[topic])
            .with_context(|| format!("subscribing to {topic}"))?;
        Ok(Self::on(base, topic, Some(group.to_owned())))
    }

    /// Opens a reader that is no member of `group` and sees no rebalance: it reads what [`Consumer::start`] is given,
    /// [`Consumer::ended`] tells when there is no more, and [`Consumer::commit`] works while the group has no members.
    pub fn outside(kafka: &KafkaConfig, group: &str, topic: &str) -> anyhow::Result<Self> {
        Self::alone(kafka.consumer(group), topic)
    }

    /// Like [`Consumer::outside`], for one who wants no more than the next record of each partition.
    pub(super) fn glancing(kafka: &KafkaConfig, group: &str, topic: &str) -> anyhow::Result<Self> {
        let mut config = kafka.consumer(group);
        config.set("queued.min.messages", "1");
        config.set("fetch.message.max.bytes", "65536");
        Self::alone(config, topic)
    }

    fn alone(mut config: ClientConfig, topic: &str) -> anyhow::Result<Self> {
        config.set("enable.partition.eof", "true");
        let base = config.create_with_context(Rebalances::default());
        let base = base.context("creating a Kafka consumer")?;
        Ok(Self::on(base, topic, None))
    }

    fn on(base: BaseConsumer<Rebalances>, topic: &str, group: Option<String>) -> Self {
        let topic = topic.to_owned();
        let hints = Mutex::default();
        Self {
            base,
            topic,
            hints,
            group,
        }
    }

    /// Partitions of a reader outside its group whose last readable record has been passed since the last
    /// call. It tells what offsets cannot: the last ones of a log may be those of markers and aborted records.
    pub fn ended(&self) -> Vec<i32> {
        let ended = self.base.context().ended.lock();
        ended
            .map(|mut ended| std::mem::take(&mut *ended))
            .unwrap_or_default()
    }

    /// The topic it reads.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The next event, waiting for it up to `wait`. Must be called at least once a minute, or the group gives the
    /// partitions to others.
    ///
    /// Errors: only those after which the client is of no more use.
    pub fn poll(&self, wait: Duration) -> anyhow::Result<Polled<'_>> {
        self.tell_if_due();
        match self.base.poll(wait) {
            Some(Ok(message)) => Ok(Polled::Record(Record(message))),
            Some(Err(error)) => self.after(error),
            // A rebalance ends the poll without a message.
            None => Ok(self.pending().map_or(Polled::Idle, |change| match change {
                Change::Assigned(partitions) => Polled::Assigned(partitions),
                Change::Revoked { partitions, lost } => Polled::Revoked { partitions, lost },
            })),
        }
    }

    fn pending(&self) -> Option<Change> {
        self.base.context().pending.lock().ok()?.take()
    }

    fn after(&self, error: KafkaError) -> anyhow::Result<Polled<'_>> {
        use RDKafkaErrorCode as Code;
        match error {
            KafkaError::MessageConsumptionFatal(_) => {
                let cause = self.base.client().fatal_error();
                let cause = cause.map_or_else(|| error.to_string(), |(_, text)| text);
                Err(anyhow!("the Kafka consumer failed for good: {cause}"))
            }
            KafkaError::MessageConsumption(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                Ok(Polled::OutOfRange)
            }
            KafkaError::PartitionEOF(partition) => {
                if let Ok(mut ended) = self.base.context().ended.lock() {
                    ended.push(partition);
                }
                Ok(Polled::Idle)
            }
            KafkaError::MessageConsumption(Code::PollExceeded) => {
                tracing::warn!(
                    "a batch took longer than max.poll.interval.ms, rejoining the group"
                );
                Ok(Polled::Idle)
            }
            error => {
                tracing::warn!(%error, topic = self.topic, "reading");
                Ok(Polled::Idle)
            }
        }
    }

    /// Starts reading assigned partitions, each at the position given with it.
    pub fn start(&self, positions: &[(i32, i64)]) -> anyhow::Result<()> {
        let list = self.list(positions)?;
        let assigned = self.base.incremental_assign(&list);
        assigned.with_context(|| format!("assigning {} {positions:?}", self.topic))?;
        self.holds(positions.iter().map(|(partition, _)| *partition), true);
        Ok(())
    }

    /// Lets revoked partitions go; their next owner finds how far this one was.
    pub fn release(&self, partitions: &[i32]) -> anyhow::Result<()> {
        self.tell();
        let released = self.base.incremental_unassign(&self.bare(partitions));
        self.holds(partitions.iter().copied(), false);
        released.with_context(|| format!("unassigning {} {partitions:?}", self.topic))
    }

    /// Notes which partitions a member reads.
    fn holds(&self, partitions: impl Iterator<Item = i32>, now: bool) {
        let Some(group) = &self.group else { return };
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        for partition in partitions {
            let own = (group.clone(), self.topic.clone(), partition);
            if now {
                held.insert(own);
            } else {
                held.remove(&own);
            }
        }
    }

    /// Goes on at another position of an assigned partition, also of one whose reading has stopped because its
    /// position was out of range.
    pub fn seek(&self, partition: i32, position: i64) -> anyhow::Result<()> {
        let list = self.list(&[(partition, position)])?;
        let sought = self.base.seek_partitions(list, ANSWER);
        let sought = sought.and_then(|list| {
            let outcomes = list.elements().into_iter().map(|element| element.error());
            outcomes.collect::<KafkaResult<()>>()
        });
        if sought
            .as_ref()
            .is_err_and(|error| error.rdkafka_error_code() == Some(RDKafkaErrorCode::State))
        {
            // A partition that has stopped cannot be sought, only started anew.
            self.release(&[partition])?;
            return self.start(&[(partition, position)]);
        }
        sought.with_context(|| format!("seeking {} {partition} to {position}", self.topic))
    }

    /// Stops fetching these partitions; they must still be polled for.
    pub fn pause(&self, partitions: &[i32]) -> anyhow::Result<()> {
        let paused = self.base.pause(&self.bare(partitions));
        paused.with_context(|| format!("pausing {} {partitions:?}", self.topic))
    }

    /// Fetches paused partitions again.
    pub fn resume(&self, partitions: &[i32]) -> anyhow::Result<()> {
        let resumed = self.base.resume(&self.bare(partitions));
        resumed.with_context(|| format!("resuming {} {partitions:?}", self.topic))
    }

    /// Has the group told how far the worker is, without waiting: with a later poll, before partitions are let go and
    /// at the end. Never more often than [`BETWEEN_HINTS`]: the brokers take milliseconds for each, and heartbeats
    /// queue behind them, so that a hint for each of many small batches would cost the membership.
    pub fn commit_hint(&self, positions: &[(i32, i64)]) {
        let mut hints = self.hints();
        hints.untold.extend(positions.iter().copied());
    }

    fn hints(&self) -> MutexGuard<'_, Hints> {
        self.hints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By time and not by the previous one's answer, since the client reports only answers that are errors.
    fn tell_if_due(&self) {
        let hints = self.hints();
        let recent = |told: Instant| told.elapsed() < BETWEEN_HINTS;
        if hints.untold.is_empty() || hints.told.is_some_and(recent) {
            return;
        }
        drop(hints);
        self.tell();
    }

    fn tell(&self) {
        let mut hints = self.hints();
        let untold: Vec<(i32, i64)> = std::mem::take(&mut hints.untold).into_iter().collect();
        if untold.is_empty() {
            return;
        }
        hints.told = Some(Instant::now());
        let committed = self
            .list(&untold)
            .and_then(|list| Ok(self.base.commit(&list, CommitMode::Async)?));
        if let Err(error) = committed {
            tracing::debug!("{error:#}");
        }
    }

    /// Commits positions to the group and waits for the answer.
    pub fn commit(&self, positions: &[(i32, i64)]) -> anyhow::Result<()> {
        let list = self.list(positions)?;
        let committed = self.base.commit(&list, CommitMode::Sync);
        committed.with_context(|| format!("committing {} {positions:?}", self.topic))
    }

    /// The positions that the group has committed, `None` where there is none.
    ///
    /// While some are part of an open transaction the brokers do not tell: that is an error after `wait`.
    pub fn committed(
        &self,
        partitions: &[i32],
        wait: Duration,
    ) -> anyhow::Result<Vec<(i32, Option<i64>)>> {
        let list = self
            .base
            .committed_offsets(self.bare(partitions), wait)
            .with_context(|| format!("reading the committed positions of {}", self.topic))?;
        let positions = list.elements().into_iter().map(|element| {
            element.error()?;
            Ok((
                element.partition(),
                element.offset().to_raw().filter(|raw| *raw >= 0),
            ))
        });
        let positions: KafkaResult<Vec<_>> = positions.collect();
        positions.with_context(|| format!("reading the committed positions of {}", self.topic))
    }

    /// The offset of the oldest record of a partition, and the position after its newest.
    pub fn log_range(&self, partition: i32) -> anyhow::Result<(i64, i64)> {
        let range = self.base.fetch_watermarks(&self.topic, partition, ANSWER);
        range.with_context(|| format!("reading the log range of {} {partition}", self.topic))
    }

    /// The position of the first record with this Kafka timestamp or a later one; the log's end where there is none.
    pub fn positions_at(
        &self,
        partitions: &[i32],
        time_ms: i64,
    ) -> anyhow::Result<Vec<(i32, i64)>> {
        let asked: Vec<(i32, i64)> = partitions.iter().map(|id| (*id, time_ms)).collect();
        let found = self
            .base
            .offsets_for_times(self.list(&asked)?, ANSWER)
            .with_context(|| format!("looking up time {time_ms} in {}", self.topic))?;
        let position = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            let partition = element.partition();
            match (element.error(), element.offset()) {
                (Err(error), _) => Err(error.into()),
                (Ok(()), Offset::Offset(offset)) => Ok((partition, offset)),
                (Ok(()), _) => Ok((partition, self.log_range(partition)?.1)),
            }
        };
        found.elements().into_iter().map(position).collect()
    }

    /// The membership that fences a transaction's positions; to be fetched anew for each transaction.
    pub fn group_metadata(&self) -> anyhow::Result<ConsumerGroupMetadata> {
        let metadata = self.base.group_metadata();
        metadata.context("the consumer has no group metadata")
    }

    fn bare(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, *partition);
        }
        list
    }

    fn list(&self, positions: &[(i32, i64)]) -> anyhow::Result<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, position) in positions {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*position))?;
        }
        Ok(list)
    }
}
