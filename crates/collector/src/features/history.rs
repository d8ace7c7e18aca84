//! The events of all users, and every feature as of any time: nothing from that time's future.

use super::known::Known;
use crate::dataset::offset::Offset;
use hashbrown::HashMap;
use tidemill_core::features::{Definitions, Evaluation, Limits, Window};
use tidemill_core::record::erasure::{Erasures, Place};
use tidemill_core::record::resent::{Judged, Original};
use tidemill_core::record::user_event::{self, UserRecord};
use tidemill_core::record::{Fields, Reject, timestamp};

/// The question that a history answers for each record.
#[derive(Clone, Debug)]
pub struct Question {
    /// The features.
    pub definitions: Definitions,
    /// The record's field that says as of when; its user is in `user_id`.
    pub as_of: String,
    /// The features are evaluated this much earlier, in milliseconds.
    pub delay_ms: i64,
}

/// The events of all users, in memory.
pub(crate) struct History {
    question: Question,
    /// User and time in a record's value.
    fields: Fields,
    users: HashMap<String, User>,
    /// The erasures of each user that was erased.
    erasures: HashMap<String, Erasures>,
    /// An erasure has removed events of other partitions, some of which it may not cover.
    erased_too_much: bool,
    known: Known,
    /// The rejected records of the partition that is being read.
    judged: Judged,
    counts: Counts,
    entry: Vec<u8>,
}

/// Records of each kind that a history has met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    /// Records that the featurizer makes dead letters.
    pub(crate) unusable: u64,
    /// Copies of records that count already.
    pub(crate) copies: u64,
}

/// A record of the events' topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) partition: i32,
    pub(crate) offset: Offset,
    /// The Kafka timestamp (epoch ms).
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<&'a [u8]>,
    /// The original, if the record is a copy.
    pub(crate) original: Option<Original>,
}

/// The events of one user.
struct User {
    /// The partition of the first event: all events are of it, or some are of the partition that is being read.
    home: i32,
    window: Window,
    /// The times of all events, also of those that no feature counts: each keeps the user's features alive.
    times: Vec<i64>,
}

impl History {
    /// No events yet, of those before `to` in Kafka time, or of all.
    pub(crate) fn new(question: Question, to: Option<i64>) -> Self {
        let fields = Fields::new(["user_id", &question.as_of]);
        Self {
            question,
            fields,
            users: HashMap::new(),
            erasures: HashMap::new(),
            erased_too_much: false,
            known: Known::before(to),
            judged: Judged::new(0),
            counts: Counts::default(),
            entry: Vec::new(),
        }
    }

    /// Begins with the records of another partition, whose log begins at `first`.
    pub(crate) fn begin(&mut self, first: Offset) {
        self.judged = Judged::new(first.into());
        self.known.begin(first);
    }

    /// Takes the Kafka time of the partition's next record; `false`: another one is needed to tell since when its
    /// records are retained.
    pub(crate) fn see(&mut self, record_timestamp: Option<i64>) -> bool {
        self.known.record(record_timestamp);
        !self.known.is_open()
    }

    /// A record of this Kafka time is one of those that the history is of.
    pub(crate) fn takes(&self, record_timestamp: Option<i64>) -> bool {
        self.known.takes(record_timestamp)
    }

    /// The partition has no more records.
    pub(crate) fn end(&mut self) {
        self.known.end();
    }

    /// Takes in a record of the partition, in their order. A copy counts where its original does not, as for a featurizer
    /// that reads from the same record on. `content` is the record's value, or the object that a claim refers to.
    pub(crate) fn insert(&mut self, record: Incoming<'_>, content: Result<Option<&[u8]>, Reject>) {
        let Incoming {
            partition,
            offset,
            timestamp,
            key,
            original,
        } = record;
        let offset = i64::from(offset);
        let identity = match self.judged.judge(original, partition, offset) {
            Ok(Some(identity)) => identity,
            Ok(None) => {
                self.counts.copies += 1;
                return;
            }
            Err(_) => {
                self.counts.unusable += 1;
                return;
            }
        };
        self.entry.clear();
        let definitions = &self.question.definitions;
        let entry = &mut self.entry;
        let decoded =
            content.and_then(|value| user_event::decode(definitions, key, value, timestamp, entry));
        let place = Place {
            partition,
            incarnation: 0,
            offset,
            time: timestamp.unwrap_or(i64::MIN),
        };
        match decoded {
            Ok(UserRecord::Event { user, time }) => {
                // An erasure between a record and its copy covers the copy too.
                let place = Place {
                    offset: identity,
                    ..place
                };
                self.event(&user, time, place);
            }
            Ok(UserRecord::Erasure { user }) => self.erase(&user, place),
            Err(_) => {
                self.judged.reject(identity);
                self.counts.unusable += 1;
            }
        }
    }

    /// Adds the event in `entry`, unless an erasure that was read covers it.
    fn event(&mut self, user: &str, time: i64, place: Place) {
        self.counts.events += 1;
        if self.erasures.get(user).is_some_and(|own| own.cover(place)) {
            return;
        }
        let own = self.users.entry_ref(user).or_insert_with(|| User {
            home: place.partition,
            window: Window::default(),
            times: Vec::new(),
        });
        let definitions = &self.question.definitions;
        own.window.insert(definitions, &self.entry, &Limits::NONE);
        let after = own.times.partition_point(|other| *other <= time);
        own.times.insert(after, time);
    }

    /// Removes all events of a user. Those of other partitions may be newer than the erasure.
    fn erase(&mut self, user: &str, place: Place) {
        let erasures = self.erasures.entry_ref(user).or_default();
        if erasures.contain(place) {
            return;
        }
        erasures.add(place);
        let own = self.users.remove(user);
        self.erased_too_much |= own.is_some_and(|own| own.home != place.partition);
    }

    /// Forgets the events and keeps the erasures, if an erasure has removed too much: true, and the same records have to
    /// be taken in once more, which is exact then.
    pub(crate) fn begins_again(&mut self) -> bool {
        let again = std::mem::take(&mut self.erased_too_much);
        if again {
            self.users.clear();
            self.counts = Counts::default();
        }
        again
    }

    /// Records that were taken in and that were not, and the number of users.
    pub(crate) fn counts(&self) -> (Counts, usize) {
        (self.counts, self.users.len())
    }

    /// The question that it answers.
    pub(super) fn question(&self) -> &Question {
        &self.question
    }

    /// A feature of this window, in milliseconds, can be known as of a time.
    pub(super) fn covers(&self, as_of: i64, window_ms: i64) -> bool {
        self.known.covers(as_of, window_ms)
    }

    /// User and time that a record asks for, where it has both.
    pub(super) fn asked(&self, value: &[u8]) -> Option<(String, i64)> {
        let values = self.fields.decode(Some(value)).ok()?;
        let user = values[0].id("user_id").ok()??.into_owned();
        let time = timestamp::decode(&values[1], &self.question.as_of).ok()??;
        Some((user, time.saturating_sub(self.question.delay_ms)))
    }

    /// Evaluates all features of a user; one whose features had expired by then is one without events.
    pub(super) fn evaluate(&self, user: &str, as_of: i64, evaluation: &mut Evaluation) {
        let definitions = &self.question.definitions;
        let own = self.users.get(user).filter(|own| {
            let until = own.times.partition_point(|time| *time <= as_of);
            let newest = until.checked_sub(1).map(|last| own.times[last]);
            newest.is_some_and(|newest| as_of < newest.saturating_add(definitions.ttl_ms()))
        });
        match own {
            Some(own) => own.window.evaluate(definitions, as_of, evaluation),
            None => Window::default().evaluate(definitions, as_of, evaluation),
        }
    }
}

#[cfg(test)]
mod tests;
