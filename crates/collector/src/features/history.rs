//! The events of all users, and every feature as of any time: nothing from that time's future.

use super::known::Known;
use arrow::array::{ArrayRef, Float64Array};
use hashbrown::HashMap;
use std::sync::Arc;
use tidemill_core::features::{Definitions, Evaluation, FeatureValue, Limits, Window};
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

/// Coordinates of a record of the events' topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// The record that it is a copy of.
    pub(crate) original: Option<Original>,
}

/// The events of one user.
#[derive(Default)]
struct User {
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
            known: Known::before(to),
            judged: Judged::new(0),
            counts: Counts::default(),
            entry: Vec::new(),
        }
    }

    /// Begins with the records of another partition, whose log begins at `first`.
    pub(crate) fn begin(&mut self, first: i64) {
        self.judged = Judged::new(first);
        self.known.begin(first);
    }

    /// Takes the Kafka time of the partition's next record; `false`: another one is needed to tell since when its
    /// records are retained.
    pub(crate) fn see(&mut self, record_timestamp: Option<i64>) -> bool {
        self.known.record(record_timestamp);
        !self.known.is_open()
    }

    /// The partition has no more records.
    pub(crate) fn end(&mut self) {
        self.known.end();
    }

    /// Takes in a record of the partition, in their order. An erasure takes back all that came of its user before. A
    /// copy counts where its original does not, as for a featurizer that reads from the same record on.
    pub(crate) fn insert(
        &mut self,
        place: Place,
        key: Option<&[u8]>,
        value: Result<Option<&[u8]>, Reject>,
        record_timestamp: Option<i64>,
    ) {
        let Place {
            partition,
            offset,
            original,
        } = place;
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
        let decoded = value
            .and_then(|value| user_event::decode(definitions, key, value, record_timestamp, entry));
        match decoded {
            Ok(UserRecord::Event { user, time }) => {
                let user = self.users.entry_ref(user.as_ref()).or_default();
                user.window.insert(definitions, &self.entry, &Limits::NONE);
                let after = user.times.partition_point(|other| *other <= time);
                user.times.insert(after, time);
                self.counts.events += 1;
            }
            Ok(UserRecord::Erasure { user }) => {
                self.users.remove(user.as_ref());
            }
            Err(_) => {
                self.judged.reject(identity);
                self.counts.unusable += 1;
            }
        }
    }

    /// Records that were taken in and that were not, and the number of users.
    pub(crate) fn counts(&self) -> (Counts, usize) {
        (self.counts, self.users.len())
    }

    /// The features' columns, to be filled record by record.
    pub(crate) fn columns(&self) -> Columns<'_> {
        Columns {
            history: self,
            values: vec![Vec::new(); self.question.definitions.features().len()],
            evaluation: Evaluation::default(),
            unknown: 0,
        }
    }

    /// User and time that a record asks for, where it has both.
    fn asked(&self, value: &[u8]) -> Option<(String, i64)> {
        let values = self.fields.decode(Some(value)).ok()?;
        let user = values[0].id("user_id").ok()??.into_owned();
        let time = timestamp::decode(&values[1], &self.question.as_of).ok()??;
        Some((user, time.saturating_sub(self.question.delay_ms)))
    }

    /// Evaluates all features of a user; one whose features had expired by then is one without events.
    fn evaluate(&self, user: &str, as_of: i64, evaluation: &mut Evaluation) {
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

/// Feature columns under construction.
pub(crate) struct Columns<'h> {
    history: &'h History,
    /// By feature, in the order of the definitions.
    values: Vec<Vec<Option<f64>>>,
    evaluation: Evaluation,
    unknown: u64,
}

impl Columns<'_> {
    /// Adds the features of one record; nulls where it does not say whose or as of when, or where records that would
    /// count are deleted or were not read.
    pub(crate) fn push(&mut self, value: &[u8]) {
        let features = self.history.question.definitions.features();
        let Some((user, as_of)) = self.history.asked(value) else {
            self.unknown += 1;
            self.values.iter_mut().for_each(|column| column.push(None));
            return;
        };
        self.history.evaluate(&user, as_of, &mut self.evaluation);
        let mut whole = true;
        for ((feature, value), column) in features
            .iter()
            .zip(&self.evaluation.values)
            .zip(&mut self.values)
        {
            let window = feature.window_ms.unwrap_or(0);
            let known = self.history.known.covers(as_of, window);
            whole &= known;
            column.push(FeatureValue::number(*value).filter(|_| known));
        }
        self.unknown += u64::from(!whole);
    }

    /// The columns, in the order of the definitions, and how many records have nulls for want of an answer.
    pub(crate) fn finish(self) -> (Vec<ArrayRef>, u64) {
        let arrays = self
            .values
            .into_iter()
            .map(|values| Arc::new(Float64Array::from(values)) as ArrayRef);
        (arrays.collect(), self.unknown)
    }
}

#[cfg(test)]
mod tests;
