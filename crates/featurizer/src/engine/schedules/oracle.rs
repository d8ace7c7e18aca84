//! The features that every user must have, from a plain list of the records: no window, no store, no position.

use super::log::{Kind, Record, Topic};
use std::collections::BTreeMap;

/// The window of the definitions that the schedules use (ms).
pub(super) const WINDOW_MS: i64 = 600_000;

/// An event that counts if its time lies in the window.
#[derive(Clone, Copy, Debug)]
struct Counted {
    partition: usize,
    offset: usize,
    /// The offset of the original, of a copy.
    original: usize,
    kafka_time: i64,
    time: i64,
    amount: u32,
}

/// The number of events and the sum of their amounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) count: u64,
    pub(super) sum: u64,
}

/// The user's totals at a time, over the events whose Kafka time is not before `since`. With `deleted` false, erasures
/// that retention has deleted do not count: perhaps no worker has read them.
pub(super) fn totals(topic: &Topic, user: &str, at: i64, since: i64, deleted: bool) -> Totals {
    let mut totals = Totals::default();
    for event in events(topic, user) {
        let counts = at - WINDOW_MS < event.time && event.time <= at;
        if counts && event.kafka_time >= since && !is_erased(topic, user, event, deleted) {
            totals.count += 1;
            totals.sum += u64::from(event.amount);
        }
    }
    totals
}

/// The user's totals at a time, over the events that retention has left and whose Kafka time is not before `since`.
pub(super) fn left(topic: &Topic, user: &str, at: i64, since: i64) -> Totals {
    let mut left = Totals::default();
    for event in events(topic, user) {
        let counts = at - WINDOW_MS < event.time && event.time <= at;
        let deleted = (event.offset as i64) < topic.partitions[event.partition].start;
        let lost = deleted || event.kafka_time < since;
        if counts && !lost && !is_erased(topic, user, event, true) {
            left.count += 1;
            left.sum += u64::from(event.amount);
        }
    }
    left
}

/// The partition that all records of a user lie in, if nothing but its events in their order decides its features: it
/// has no erasures and no copies, and retention deleted nothing.
pub(super) fn plain_home(topic: &Topic, user: &str) -> Option<usize> {
    let mut homes = topic.partitions.iter().enumerate().filter(|(_, own)| {
        let mut records = own.records.iter().flatten();
        records.any(|record| record.user == user)
    });
    let (home, own) = homes.next()?;
    let mut records = own
        .records
        .iter()
        .flatten()
        .filter(|record| record.user == user);
    let plain = records.all(|record| record.kind != Kind::Erasure && record.original.is_none());
    (homes.next().is_none() && plain && own.start == 0).then_some(home)
}

/// The user's totals at a time, over the events before an offset of its only partition.
pub(super) fn before(topic: &Topic, user: &str, at: i64, offset: i64) -> Totals {
    let mut totals = Totals::default();
    for event in events(topic, user) {
        let counts = at - WINDOW_MS < event.time && event.time <= at;
        if counts && (event.offset as i64) < offset {
            totals.count += 1;
            totals.sum += u64::from(event.amount);
        }
    }
    totals
}

/// True if the user has records in several partitions.
pub(super) fn is_mixed(topic: &Topic, user: &str) -> bool {
    let has = |own: &&super::log::Partition| {
        own.records
            .iter()
            .flatten()
            .any(|record| record.user == user)
    };
    topic.partitions.iter().filter(has).count() > 1
}

/// The totals of all copies that name the user and whose originals retention deleted: they count if that happened
/// before the original was read.
pub(super) fn copies(topic: &Topic, user: &str) -> Totals {
    let mut totals = Totals::default();
    for own in &topic.partitions {
        for record in own.records.iter().flatten() {
            if let (Kind::Event(_, amount), Some(original)) = (record.kind, record.original)
                && record.user == user
                && original < own.start
            {
                totals.count += 1;
                totals.sum += u64::from(amount);
            }
        }
    }
    totals
}

/// The user's events: usable originals, and for each unusable one its first usable copy.
fn events(topic: &Topic, user: &str) -> Vec<Counted> {
    let mut events = Vec::new();
    for (partition, own) in topic.partitions.iter().enumerate() {
        let mut replaced: BTreeMap<i64, bool> = BTreeMap::new();
        for (offset, record) in own.records.iter().enumerate() {
            let Some(record) = record else { continue };
            let Kind::Event(time, amount) = record.kind else {
                if record.kind == Kind::Bad && record.original.is_none() {
                    replaced.insert(offset as i64, false);
                }
                continue;
            };
            if let Some(original) = record.original {
                match replaced.get_mut(&original) {
                    Some(replaced) if !*replaced => *replaced = true,
                    _ => continue,
                }
            }
            if record.user == user {
                events.push(Counted {
                    partition,
                    offset,
                    original: record.original.map_or(offset, |original| original as usize),
                    kafka_time: record.time,
                    time,
                    amount,
                });
            }
        }
    }
    events
}

/// True if an erasure covers the event: it covers the records before it in its partition, with all their copies, and
/// those of others that are not newer.
fn is_erased(topic: &Topic, user: &str, event: Counted, deleted: bool) -> bool {
    let erases = |record: &Record| record.kind == Kind::Erasure && record.user == user;
    topic.partitions.iter().enumerate().any(|(partition, own)| {
        own.records.iter().enumerate().any(|(offset, record)| {
            record.as_ref().is_some_and(|record| {
                let covers = match partition == event.partition {
                    true => offset > event.original,
                    false => record.time >= event.kafka_time,
                };
                let exists = deleted || offset as i64 >= own.start;
                erases(record) && covers && exists
            })
        })
    })
}

/// Lists the user's events in the window, for a schedule that runs alone.
pub(super) fn describe(topic: &Topic, user: &str, at: i64) -> String {
    let mut events = events(topic, user);
    events.retain(|event| at - WINDOW_MS < event.time && event.time <= at);
    let describe = |event: &Counted| {
        let erased = is_erased(topic, user, *event, true);
        let Counted {
            partition,
            offset,
            kafka_time,
            amount,
            ..
        } = event;
        let note = if erased { " erased" } else { "" };
        format!(
            "{partition}/{offset}@{}={amount}{note}",
            kafka_time % 100_000_000
        )
    };
    events.iter().map(describe).collect::<Vec<_>>().join(", ")
}
