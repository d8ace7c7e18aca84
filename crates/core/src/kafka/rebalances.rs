//! Rebalances as librdkafka reports them: in callbacks, which only note what the consumer's owner has to answer.

use super::client_log::heard;
use super::wording::client_error;
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// The request of a rebalance.
#[derive(Debug)]
pub(super) enum Change {
    Assigned(Vec<i32>),
    Revoked { partitions: Vec<i32>, lost: bool },
}

/// Notes rebalances for [`Consumer::poll`], which runs the callbacks.
#[derive(Default)]
pub(super) struct Rebalances {
    pending: Mutex<Option<Change>>,
    closing: AtomicBool,
}

impl Rebalances {
    /// The rebalance that the owner has to answer.
    pub(super) fn take(&self) -> Option<Change> {
        self.pending.lock().ok()?.take()
    }

    /// Has all further rebalances answered at once.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }
}

impl ConsumerContext for Rebalances {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let assigned = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        // Cooperative rebalances bring empty lists too; those, and all of a closing consumer, are answered at once.
        if list.count() == 0 || self.closing.load(Ordering::Relaxed) {
            let answer = if assigned {
                consumer.incremental_assign(&TopicPartitionList::new())
            } else {
                consumer.incremental_unassign(list)
            };
            if let Err(error) = answer {
                tracing::warn!("answering a rebalance: {}", client_error(&error));
            }
            // A member without partitions should learn that it is a member.
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
            // Another commit follows; a rebalance meanwhile makes this one void.
            tracing::debug!(%error, "group commit failed");
        }
    }
}

impl ClientContext for Rebalances {
    fn error(&self, error: KafkaError, reason: &str) {
        heard(&error, Some(reason));
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "{message}");
    }
}
