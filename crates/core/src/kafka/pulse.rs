//! The brokers' part in the health of a process: do the leaders of what it reads answer?

use super::Consumer;
use crate::health::Health;
use crate::pulse::{self, ANSWER, LIMIT};
use crate::settings::Shared;
use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaResult;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Keeps the part `brokers` of `health` until `shutdown`: unready while any leader of the process's partitions has not
/// answered for a while.
pub fn watch(
    shared: &Shared,
    health: &Arc<Health>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let consumer = Consumer::glancing(&shared.kafka, &shared.group, &shared.topic)?;
    let assigned = shared.kafka.assigned.clone();
    let part = health.pulse("brokers", "answer from the brokers", LIMIT);
    pulse::keep(part, shutdown, move || {
        let held = assigned.partitions();
        // A process without partitions asks for the first: its topic has one at least.
        let asked = if held.is_empty() {
            vec![0]
        } else {
            held.into_iter().collect()
        };
        let answer = consumer.ask_leaders(&asked);
        answer.map_err(|error| format!("{error:#}"))
    })
}

impl Consumer {
    /// Asks the leader of each partition for the end of its log, with one request a broker.
    fn ask_leaders(&self, partitions: &[i32]) -> anyhow::Result<()> {
        let mut list = self.bare(partitions);
        list.set_all_offsets(Offset::End)?;
        let answers = self.base.offsets_for_times(list, ANSWER);
        // The client's complaints come only to who polls, and pile up otherwise.
        while self.base.poll(Duration::ZERO).is_some() {}
        let outcomes = answers.map(|list| {
            let elements = list.elements().into_iter();
            elements
                .map(|element| element.error())
                .collect::<KafkaResult<()>>()
        });
        Ok(outcomes??)
    }
}
