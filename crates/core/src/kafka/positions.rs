//! Positions: commits to the group, and questions to group, log and brokers.

use super::consumer::ANSWER;
use super::errors::is_unknown_topic;
use super::{Consumer, LogRange, StoredPosition, TopicId, note, raw, topic_id};
use anyhow::{Context as _, anyhow};
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Time limit for the brokers to report what members write to.
const ELSEWHERE: Duration = Duration::from_secs(2);

/// Pause before the consumer asks for a group's coordinator again.
const PAUSE: Duration = Duration::from_millis(100);

impl Consumer {
    /// Commits positions without waiting: the request leaves with a later poll, before partitions are revoked and at
    /// the end. A position is a plain offset, or an offset with the identity of its log.
    pub fn commit_hint<P: Into<StoredPosition<u64>> + Copy>(&self, positions: &[(i32, P)]) {
        self.hints.add(positions);
    }

    pub(super) fn tell_group(&self, positions: Vec<(i32, StoredPosition<u64>)>) {
        if positions.is_empty() {
            return;
        }
        let committed = self
            .offsets(&positions)
            .and_then(|list| Ok(self.base.commit(&list, CommitMode::Async)?));
        if let Err(error) = committed {
            tracing::debug!("{error:#}");
        }
    }

    /// Commits positions to the group and waits for the answer.
    pub fn commit<P: Into<StoredPosition<u64>> + Copy>(
        &self,
        positions: &[(i32, P)],
    ) -> anyhow::Result<()> {
        let list = self.offsets(positions)?;
        let committed = self.base.commit(&list, CommitMode::Sync);
        committed.with_context(|| format!("committing {list:?}"))
    }

    /// The positions in the form of a commit, in a transaction too: each has the member's destination and the identity
    /// of its log.
    pub fn offsets<P: Into<StoredPosition<u64>> + Copy>(
        &self,
        positions: &[(i32, P)],
    ) -> anyhow::Result<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, position) in positions {
            let position = (*position).into();
            let mut entry = list.add_partition(&self.topic, *partition);
            entry.set_offset(Offset::Offset(position.next))?;
            let metadata = note::write(&self.writes_to, &position);
            if !metadata.is_empty() {
                entry.set_metadata(&metadata);
            }
        }
        Ok(list)
    }

    /// The destination that the group's commit of one of these partitions names, if it differs from `own`. Commits of
    /// other programs name none.
    ///
    /// Errors and `wait`: those of [`Consumer::committed`].
    pub fn others_write_to(
        &self,
        partitions: &[i32],
        own: &str,
        wait: Duration,
    ) -> anyhow::Result<Option<String>> {
        let (list, own) = (self.committed_list(partitions, wait)?, note::bounded(own));
        let texts = raw::metadata(&list).into_iter();
        let mut texts = texts.map(|metadata| note::read(metadata, 0).0);
        Ok(texts.find(|text| !text.is_empty() && *text != own))
    }

    /// The same for all partitions of the topic.
    pub fn elsewhere(&self, own: &str) -> anyhow::Result<Option<String>> {
        let partitions: Vec<i32> = (0..self.partition_count()?).collect();
        self.others_write_to(&partitions, own, ELSEWHERE)
    }

    /// True if a commit of the group names this destination.
    pub fn writes_to(&self, place: &str) -> anyhow::Result<bool> {
        let partitions: Vec<i32> = (0..self.partition_count()?).collect();
        let list = self.committed_list(&partitions, ELSEWHERE)?;
        let place = note::bounded(place);
        let mut texts = raw::metadata(&list).into_iter();
        Ok(texts.any(|metadata| note::read(metadata, 0).0 == place))
    }

    /// The committed positions of the group; `None` for a partition without one.
    ///
    /// Brokers withhold positions that are part of an open transaction: that is an error after `wait`.
    pub fn committed(
        &self,
        partitions: &[i32],
        wait: Duration,
    ) -> anyhow::Result<Vec<(i32, Option<i64>)>> {
        let list = self.committed_list(partitions, wait)?;
        let positions = list.elements().into_iter().map(|element| {
            let position = element.offset().to_raw().filter(|raw| *raw >= 0);
            (element.partition(), position)
        });
        Ok(positions.collect())
    }

    /// The same, each with the identity of its log as committed.
    pub fn committed_positions(
        &self,
        partitions: &[i32],
        wait: Duration,
    ) -> anyhow::Result<Vec<(i32, Option<StoredPosition<u64>>)>> {
        let list = self.committed_list(partitions, wait)?;
        let entries = list.elements().into_iter().zip(raw::metadata(&list));
        let positions = entries.map(|(element, metadata)| {
            let next = element.offset().to_raw().filter(|raw| *raw >= 0);
            let position = next.map(|next| note::read(metadata, next).1);
            (element.partition(), position)
        });
        Ok(positions.collect())
    }

    fn committed_list(
        &self,
        partitions: &[i32],
        wait: Duration,
    ) -> anyhow::Result<TopicPartitionList> {
        let deadline = Instant::now() + wait;
        let list = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let list = self.base.committed_offsets(self.bare(partitions), left);
            let list = list.and_then(|list| {
                let errors = list.elements().into_iter().map(|element| element.error());
                errors.collect::<KafkaResult<()>>()?;
                Ok(list)
            });
            match &list {
                Err(error) if is_moving(error) && left > PAUSE => std::thread::sleep(PAUSE),
                _ => break list,
            }
        };
        list.with_context(|| format!("reading the committed positions of {}", self.topic))
    }

    /// The offsets of a partition's log; to a reader of committed records it ends where its oldest open transaction begins.
    pub fn log_range(&self, partition: i32) -> anyhow::Result<LogRange> {
        let range = self.base.fetch_watermarks(&self.topic, partition, ANSWER);
        let (oldest, end) = range
            .with_context(|| format!("reading the log range of {} {partition}", self.topic))?;
        Ok(LogRange { oldest, end })
    }

    /// The same for many partitions, each of which is in the answer, with two requests to each leader.
    pub fn log_ranges(&self, partitions: &[i32]) -> anyhow::Result<BTreeMap<i32, LogRange>> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let oldest = self.log_ends(partitions, Offset::Beginning)?;
        let ends = self.log_ends(partitions, Offset::End)?;
        let range = |(partition, oldest)| {
            let end = ends.get(&partition);
            let end = *end.with_context(|| format!("no log end of {} {partition}", self.topic))?;
            Ok((partition, LogRange { oldest, end }))
        };
        oldest.into_iter().map(range).collect()
    }

    fn log_ends(&self, partitions: &[i32], which: Offset) -> anyhow::Result<BTreeMap<i32, i64>> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition_offset(&self.topic, *partition, which)?;
        }
        // Kafka takes these two for a time, and answers with the offset of that end of the log.
        let found = self.base.offsets_for_times(list, ANSWER);
        let found = found.and_then(|found| {
            let elements = found.elements().into_iter().map(|element| {
                element.error()?;
                Ok((element.partition(), element.offset()))
            });
            elements.collect::<KafkaResult<Vec<_>>>()
        });
        let found = found.with_context(|| format!("reading the log ranges of {}", self.topic))?;
        let offset = |(partition, offset)| match offset {
            Offset::Offset(offset) => Ok((partition, offset)),
            other => Err(anyhow!("the log of {partition} ends at {other:?}")),
        };
        found.into_iter().map(offset).collect()
    }

    /// The number of the topic's partitions; 0 if the topic does not exist.
    pub fn partition_count(&self) -> anyhow::Result<i32> {
        let metadata = self.base.fetch_metadata(Some(&self.topic), ANSWER);
        let metadata = metadata.with_context(|| format!("asking for topic {}", self.topic))?;
        let topic = metadata.topics().first();
        let count = topic.map_or(0, |topic| topic.partitions().len());
        Ok(i32::try_from(count)?)
    }

    /// The id of the topic; `None` if the brokers are too old for topic ids.
    ///
    /// Errors: the topic does not exist, or no answer within 10 s.
    pub fn topic_id(&self) -> anyhow::Result<Option<TopicId>> {
        topic_id::ask(self.base.client(), &self.topic, ANSWER)
    }

    /// The id of the topic if it was created again since its id was `known`; `None` if it was not, or does not exist now.
    ///
    /// Errors: no answer within 10 s.
    pub fn created_again(&self, known: TopicId) -> anyhow::Result<Option<TopicId>> {
        match self.topic_id() {
            Ok(id) => Ok(id.filter(|id| *id != known)),
            Err(error) if is_unknown_topic(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The offset of the first record with this Kafka timestamp or a later one; the log's end if there is none. A time
    /// before 1970 is as 1970: no record has one, and Kafka takes negative numbers for something else.
    pub fn positions_at(
        &self,
        partitions: &[i32],
        time_ms: i64,
    ) -> anyhow::Result<Vec<(i32, i64)>> {
        let time = time_ms.max(0);
        let asked: Vec<(i32, i64)> = partitions.iter().map(|id| (*id, time)).collect();
        let found = self
            .base
            .offsets_for_times(self.list(&asked)?, ANSWER)
            .with_context(|| format!("looking up time {time_ms} in {}", self.topic))?;
        let position = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            let partition = element.partition();
            match (element.error(), element.offset()) {
                (Err(error), _) => Err(error.into()),
                (Ok(()), Offset::Offset(offset)) => Ok((partition, offset)),
                (Ok(()), _) => Ok((partition, self.log_range(partition)?.end)),
            }
        };
        found.elements().into_iter().map(position).collect()
    }
}

/// True if the brokers are just choosing or loading the group's coordinator, as after the start of a broker.
fn is_moving(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
        )
    )
}
