//! Turns a record into a change in the batch or a rejection. It decides, and sends nothing.

use crate::assignment::{Assignment, OwnedPartition, Turn};
use crate::batch::{Batch, Change};
use crate::engine::Engine;
use crate::setback::Setback;
use crate::store::{Door, fingerprint};
use crate::users::Place;
use tidemill_core::record::Reject;
use tidemill_core::record::resent::Original;
use tidemill_core::record::user_event::{self, UserRecord};

/// A record with its coordinates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// The Kafka timestamp (epoch ms).
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    /// The original, if the record is a copy.
    pub(crate) original: Option<Original>,
}

/// The outcome of a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is in the batch, was applied before, or is a copy that does not count.
    Done,
    /// It cannot be used; `letter` is true if it has no dead letter yet.
    Rejected { reject: Reject, letter: bool },
}

/// Judges a record by its offset; records of partitions that are not attached are past.
///
/// Errors: the log is another one than the one that was applied.
pub(crate) fn turn(incoming: &Incoming<'_>, assignment: &mut Assignment) -> Result<Turn, Setback> {
    let Incoming {
        partition,
        offset,
        timestamp,
        key,
        value,
        ..
    } = *incoming;
    let Some(own) = assignment.get_mut(partition) else {
        return Ok(Turn::Past);
    };
    match own.turn(offset, || fingerprint(timestamp, key, value)) {
        Turn::OtherLog => Err(Setback::OtherLog(partition)),
        turn => Ok(turn),
    }
}

/// Takes a record into the batch. `content` is its value, or the object that a claim refers to.
pub(crate) fn take<D: Door>(
    incoming: &Incoming<'_>,
    content: Result<Option<&[u8]>, Reject>,
    (assignment, engine, batch): (&mut Assignment, &mut Engine<D>, &mut Batch),
) -> Taken {
    let Incoming {
        partition,
        offset,
        timestamp,
        key,
        value,
        original,
    } = *incoming;
    let Some(own) = assignment.get_mut(partition) else {
        return Taken::Done;
    };
    let place = Place {
        partition,
        incarnation: own.position().building.incarnation,
        offset,
        time: timestamp.unwrap_or(i64::MIN),
    };
    own.take(offset, timestamp);
    batch.record(place, timestamp, key, value);
    let original = match original.map(|original| original.within(partition)) {
        None => None,
        Some(Ok(original)) if own.rejects().admit(original, offset) => Some(original),
        Some(Ok(_)) => return Taken::Done,
        Some(Err(reject)) => return rejected(own, offset, None, reject),
    };
    let begin = batch.entries().len();
    let decoded = content.and_then(|content| {
        let definitions = &engine.rules().definitions;
        user_event::decode(definitions, key, content, timestamp, batch.entries())
    });
    let (user, change, place) = match decoded {
        Ok(UserRecord::Event { user, .. }) => {
            // An erasure between a record and its copy covers the copy too.
            let offset = original.unwrap_or(offset);
            let place = Place { offset, ..place };
            (user, Change::Event(begin as u32), place)
        }
        Ok(UserRecord::Erasure { user }) => (user, Change::Erasure, place),
        Err(reject) => return rejected(own, offset, original, reject),
    };
    let user = engine.touch(batch, &user, partition);
    batch.change(user, place, offset, change);
    Taken::Done
}

fn rejected(own: &mut OwnedPartition, offset: i64, original: Option<i64>, reject: Reject) -> Taken {
    let letter = match original {
        Some(original) => own.rejects().reject_copy(original, offset),
        None => own.rejects().reject(offset),
    };
    Taken::Rejected { reject, letter }
}
