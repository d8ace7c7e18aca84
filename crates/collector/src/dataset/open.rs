//! A data set that files are added to: of one topic, in one store, with one schema.

use super::begin::Begin;
use super::known_partitions::KnownPartitions;
use super::offset::Offset;
use super::start::another_log;
use super::store::Store;
use super::topic::Topic;
use crate::encode::frozen::{Freezer, Frozen};
use anyhow::Context;
use std::sync::Arc;
use tidemill_core::kafka::LogFit;

/// The data set of a run. Clones are the same.
#[derive(Clone)]
pub(crate) struct DataSet {
    topic: Topic,
    store: Store,
    freezer: Arc<Freezer>,
    known: KnownPartitions,
    begins: Begins,
}

/// Facts about the run, from the beginnings of its partitions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Begins {
    /// The number of the topic's partitions in a bounded run, which begins all of them.
    pub(crate) partitions: Option<i32>,
    /// `--from`, in milliseconds since the epoch.
    pub(crate) from: Option<i64>,
}

impl DataSet {
    /// A data set whose partitions are not known yet.
    pub(crate) fn new(topic: Topic, store: Store, freezer: Freezer, begins: Begins) -> Self {
        Self {
            topic,
            store,
            freezer: Arc::new(freezer),
            known: KnownPartitions::default(),
            begins,
        }
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Its files.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Freezes its schema.
    pub(crate) fn freezer(&self) -> &Freezer {
        &self.freezer
    }

    /// Its schema, if that is known.
    pub(crate) fn frozen(&self) -> Option<Arc<Frozen>> {
        self.freezer.get()
    }

    /// The state of its partitions as this process knows it.
    pub(crate) fn known(&self) -> &KnownPartitions {
        &self.known
    }

    /// Says where a partition begins, and returns where it does: a peer may have been first. `empty`: it has no record to
    /// collect yet.
    pub(crate) async fn begin(
        &self,
        partition: i32,
        first: Offset,
        empty: bool,
    ) -> anyhow::Result<Offset> {
        let frozen = self.frozen().context("a beginning without a schema")?;
        let Begins { partitions, from } = self.begins;
        let begin = Begin {
            topic: self.topic.name.to_string(),
            topic_id: self.topic.id,
            partition,
            first,
            partitions,
            from,
            empty,
            schema: frozen.fingerprint.clone(),
        };
        begin.publish(&self.store, &frozen).await
    }

    /// The error of a partition whose files, up to `next`, are of another log.
    pub(crate) fn of_another_log(
        &self,
        partition: i32,
        next: Offset,
        fit: LogFit,
    ) -> anyhow::Error {
        another_log(&self.topic.name, partition, next, fit)
    }
}
