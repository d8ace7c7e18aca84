//! Reads one user's events from the topic, up to the stored positions.

use crate::position::Position;
use anyhow::ensure;
use std::collections::BTreeMap;
use std::time::Duration;
use tidemill_core::claim::Resolver;
use tidemill_core::features::Definitions;
use tidemill_core::kafka::{Consumer, Polled};
use tidemill_core::record::user_event::{self, UserRecord};

/// One event of the user.
pub(super) struct Event {
    pub(super) time: i64,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// The record's value.
    pub(super) text: String,
    pub(super) entry: Vec<u8>,
}

/// The user's events in the records since `since` (Kafka time, epoch ms) and before the positions, in the order of
/// the log. Those before an erasure are left out.
pub(super) fn replay(
    consumer: &Consumer,
    resolver: &Resolver,
    definitions: &Definitions,
    user: &str,
    since: i64,
    positions: &[Option<Position>],
) -> anyhow::Result<Vec<Event>> {
    let applied = positions
        .iter()
        .zip(0..)
        .filter_map(|(position, partition)| {
            position
                .as_ref()
                .map(|position| (partition, position.reached(user)))
        });
    let mut ends: BTreeMap<i32, i64> = applied.collect();
    ensure!(
        !ends.is_empty(),
        "no position is stored: has a featurizer run with this --key-prefix?"
    );
    let partitions: Vec<i32> = ends.keys().copied().collect();
    let starts = consumer.positions_at(&partitions, since)?;
    ends.retain(|partition, end| {
        starts
            .iter()
            .any(|(own, start)| own == partition && start < end)
    });
    let starts: Vec<_> = starts
        .into_iter()
        .filter(|(own, _)| ends.contains_key(own))
        .collect();
    consumer.start(&starts)?;
    let mut events = Vec::new();
    while !ends.is_empty() {
        let record = match consumer.poll(Duration::from_millis(100))? {
            Polled::Record(record) => record,
            Polled::End(partition) => {
                ends.remove(&partition);
                continue;
            }
            _ => continue,
        };
        let (partition, offset) = (record.partition(), record.offset());
        match ends.get(&partition) {
            Some(end) if offset < *end => {
                if offset + 1 == *end {
                    ends.remove(&partition);
                }
            }
            _ => {
                ends.remove(&partition);
                continue;
            }
        }
        let mut entry = Vec::new();
        let (key, value) = (record.key(), record.value());
        let content = resolver.resolve(value)?;
        let decoded = content.of(value).and_then(|value| {
            user_event::decode(definitions, key, value, record.timestamp(), &mut entry)
        });
        match decoded {
            Ok(UserRecord::Event { user: own, time }) if own == user => {
                let text = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
                events.push(Event {
                    time,
                    partition,
                    offset,
                    text,
                    entry,
                });
            }
            Ok(UserRecord::Erasure { user: own }) if own == user => events.clear(),
            // Other users, and what the featurizer has rejected too.
            _ => {}
        }
    }
    Ok(events)
}
