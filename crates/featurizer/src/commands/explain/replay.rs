//! Reads one user's events from the topic, as far as hashes show them.

use crate::store::Position;
use crate::users::{Erasures, Place};
use anyhow::ensure;
use std::collections::BTreeMap;
use tidemill_core::claim::Resolver;
use tidemill_core::features::Definitions;
use tidemill_core::kafka::{Consumer, Record, Stretch};
use tidemill_core::record::Reject;
use tidemill_core::record::resent::{Judged, Original};
use tidemill_core::record::user_event::{self, UserRecord};
use tokio_util::sync::CancellationToken;

pub(super) struct Event {
    pub(super) time: i64,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// The record's value.
    pub(super) text: String,
    pub(super) entry: Vec<u8>,
}

/// The user's events according to the topic.
pub(super) struct Replayed {
    pub(super) events: Vec<Event>,
    /// Offsets that retention deleted while the topic was read.
    pub(super) lost: i64,
}

/// Reads the user's events in the records since `since` (Kafka time, epoch ms) and before the positions, in log order,
/// without those that an erasure covers. `None` if `shutdown` came first.
pub(super) fn replay(
    consumer: &Consumer,
    resolver: &Resolver,
    definitions: &Definitions,
    user: &str,
    since: i64,
    positions: &[Option<Position>],
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<Replayed>> {
    let applied = positions
        .iter()
        .zip(0..)
        .filter_map(|(position, partition)| {
            position
                .as_ref()
                .map(|position| (partition, position.applied()))
        });
    let ends: BTreeMap<i32, i64> = applied.collect();
    ensure!(
        !ends.is_empty(),
        "no position is stored: has a featurizer run with this --key-prefix?"
    );
    let partitions: Vec<i32> = ends.keys().copied().collect();
    let starts = consumer.positions_at(&partitions, since)?;
    let spans = starts
        .into_iter()
        .filter_map(|(partition, start)| ends.get(&partition).map(|end| (partition, start, *end)));
    let mut stretch = Stretch::new(spans);
    let mut history = History::default();
    for (position, partition) in positions.iter().zip(0..) {
        let begin = position
            .as_ref()
            .map_or(0, |position| position.building.begin);
        history.judged.insert(partition, Judged::new(begin));
    }
    stretch.read(consumer, shutdown, |record| {
        let content = resolver.resolve(record.value())?;
        let content = content.of(record.value());
        history.take(record, content, (definitions, user), consumer.topic());
        Ok(())
    })?;
    Ok(stretch.is_read().then(|| Replayed {
        events: history.events(),
        lost: stretch.lost(),
    }))
}

/// The user's records read so far.
#[derive(Default)]
struct History {
    events: Vec<(Place, Event)>,
    erasures: Erasures,
    judged: BTreeMap<i32, Judged>,
}

impl History {
    /// Takes a record as the featurizer does: a copy counts if its original was rejected and no other copy of it has
    /// counted.
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
                // An erasure between a record and its copy covers the copy too.
                let offset = original.unwrap_or(offset);
                self.events.push((Place { offset, ..place }, event));
            }
            Ok(UserRecord::Erasure { user: own }) if own == user => self.erasures.add(place),
            Ok(_) => {}
            Err(_) => judged.reject(original.unwrap_or(offset)),
        }
    }

    /// The events that no erasure covers, in whatever partition the erasure lies.
    fn events(self) -> Vec<Event> {
        let erasures = self.erasures;
        let left = self.events.into_iter();
        let left = left.filter(|(place, _)| !erasures.cover(*place));
        left.map(|(_, event)| event).collect()
    }
}
