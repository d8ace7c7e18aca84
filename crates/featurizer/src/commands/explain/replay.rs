//! Reads one user's events from the topic, up to the stored positions.

use crate::store::Position;
use crate::users::{Erasures, Place};
use anyhow::ensure;
use std::collections::BTreeMap;
use std::time::Duration;
use tidemill_core::claim::Resolver;
use tidemill_core::features::Definitions;
use tidemill_core::kafka::{Consumer, Polled, Record};
use tidemill_core::record::Reject;
use tidemill_core::record::resent::{Judged, Original};
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
/// the log. Those that an erasure covers are left out.
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
    let mut stretch = Stretch::default();
    for (position, partition) in positions.iter().zip(0..) {
        let begin = position
            .as_ref()
            .map_or(0, |position| position.building.begin);
        stretch.judged.insert(partition, Judged::new(begin));
    }
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
        let content = resolver.resolve(record.value())?;
        let content = content.of(record.value());
        stretch.take(&record, content, (definitions, user), consumer.topic());
    }
    Ok(stretch.events())
}

/// What was read.
#[derive(Default)]
struct Stretch {
    events: Vec<(Place, Event)>,
    erasures: Erasures,
    judged: BTreeMap<i32, Judged>,
}

impl Stretch {
    /// Takes a record, as the featurizer does: a copy counts if its original was rejected, and no other copy of it has.
    fn take(
        &mut self,
        record: &Record<'_>,
        content: Result<Option<&[u8]>, Reject>,
        (definitions, user): (&Definitions, &str),
        topic: &str,
    ) {
        let (partition, offset) = (record.partition(), record.offset());
        let Some(judged) = self.judged.get_mut(&partition) else {
            return;
        };
        let original = Original::of(record.headers(), topic, partition, offset);
        let original = match original.map(|original| original.within(partition)) {
            None => None,
            Some(Ok(original)) if judged.admit(original, offset) => Some(original),
            Some(_) => return,
        };
        let mut entry = Vec::new();
        let (key, timestamp) = (record.key(), record.timestamp());
        let decoded = content
            .and_then(|value| user_event::decode(definitions, key, value, timestamp, &mut entry));
        let place = Place {
            partition,
            incarnation: 0,
            offset,
            time: timestamp.unwrap_or(i64::MIN),
        };
        match decoded {
            Ok(UserRecord::Event { user: own, time }) if own == user => {
                let value = record.value().unwrap_or_default();
                let text = String::from_utf8_lossy(value).into_owned();
                let event = Event {
                    time,
                    partition,
                    offset,
                    text,
                    entry,
                };
                self.events.push((place, event));
            }
            Ok(UserRecord::Erasure { user: own }) if own == user => self.erasures.add(place, None),
            Ok(_) => {}
            Err(_) => judged.reject(original.unwrap_or(offset)),
        }
    }

    /// The events that no erasure covers, whatever partition it lies in.
    fn events(self) -> Vec<Event> {
        let erasures = self.erasures;
        let left = self.events.into_iter();
        let left = left.filter(|(place, _)| !erasures.cover(*place));
        left.map(|(_, event)| event).collect()
    }
}
