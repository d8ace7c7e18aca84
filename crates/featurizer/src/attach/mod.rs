//! Attaches partitions: reads store and log, has all of them decided at once, and writes the new positions.
//!
//! The write fences off the earlier owner: Redis refuses its next transaction.
//!
//! - `again`: the second building of windows
//! - `decided`: the position of each partition
//! - `gone`: partitions that a re-created topic no longer has
//! - `log`: Kafka's side

mod again;
mod decided;
mod gone;
mod log;

pub(crate) use again::build_again;
pub(crate) use log::Log;

use crate::assignment::{Assignment, Known, MARGIN_MS, OwnedPartition, Present, Rejects, resume};
use crate::engine::Engine;
use crate::relapse::{Relapse, relapsed};
use crate::setback::Setback;
use crate::store::{Door, Expiries, Lease, Outcome, Position, StoreTransaction};
use decided::{Decided, Moment, decide, share_gaps};
use std::collections::BTreeMap;
use tidemill_core::kafka::in_words;

/// Rejected records read at once, and expiries moved at once.
const PAGE: usize = 1000;

/// A partition that was attached, and the worker's task.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) partition: i32,
    /// The first offset to read.
    pub(crate) read_from: i64,
    /// True if the consumer reads the partition already, and must seek.
    pub(crate) seek: bool,
    /// Offsets that retention deleted before they were applied.
    pub(crate) lost: i64,
}

/// Attaches partitions that wait, and those of the worker that a rebuild includes. Partitions that the topic does not
/// have keep waiting. No transaction of the worker may be under way.
pub(crate) fn attach<D: Door>(
    waiting: &[i32],
    assignment: &mut Assignment,
    engine: &mut Engine<D>,
    log: &impl Log,
) -> Result<Vec<Attached>, Setback> {
    let count = log.partitions().map_err(brokers)?;
    let here: Vec<i32> = waiting.iter().copied().filter(|id| *id < count).collect();
    if here.is_empty() {
        return Ok(Vec::new());
    }
    let now = engine.now();
    let definitions = engine.rules().definitions.fingerprint().to_owned();
    let longest = engine.rules().definitions.longest_ms();
    let topic = log.topic_id().map_err(brokers)?;
    let (lease, transaction) = engine.connect()?;
    let known = look(count, &here, assignment, (lease, transaction), log)?;
    let present = Present {
        definitions: &definitions,
        topic,
    };
    let moment = Moment {
        present,
        since: now - longest - MARGIN_MS,
        token: assignment.next_token(),
        now,
    };
    let decided = decide_all(&known, &moment, log)?;
    confirm(&known, &here, &decided, lease)?;
    let gone = gone::find(count, topic, lease)?;
    gone.iter().for_each(|id| transaction.end_partition(*id));
    if !relapsed(Relapse::RebuiltForever) {
        // The rebuild reads its events again, or they are gone from the log.
        let rebuilt = |(_, id): &(&str, i32)| decided.contains_key(id);
        let spoilt = assignment.spoilt().filter(rebuilt);
        spoilt.for_each(|(user, _)| transaction.delete(user));
    }
    let mut attached = BTreeMap::new();
    let mut reads = Vec::new();
    let is_ours = |id: &i32| here.contains(id) || assignment.get(*id).is_some();
    for (id, own) in decided {
        if known[&id].expiries == Expiries::Foreign {
            transaction.unlink_expiries(id);
        }
        transaction.position(id, own.position.clone());
        if is_ours(&id) {
            let mut rejects = rejects(lease, id, &own.position)?;
            if own.lost > 0 {
                let end = own.position.offset;
                // What hashes show has been read.
                let stored = known[&id].stored.as_ref();
                let read = stored.map_or(end - own.lost, Position::until);
                rejects.skip((read.min(end), end), id, transaction);
            }
            reads.push(Attached {
                partition: id,
                read_from: own.read_from,
                seek: true,
                lost: own.lost,
            });
            let own = OwnedPartition::new(own.position, own.check, own.gap, rejects);
            attached.insert(id, own);
        }
    }
    match lease.attach(transaction)? {
        Outcome::Applied(..) => {}
        Outcome::Refused => return Err(Setback::Superseded),
        Outcome::Torn(partitions, error) => return Err(Setback::Torn { partitions, error }),
    }
    for id in gone {
        lease.move_expiries(id, here[0], PAGE)?;
    }
    let others: Vec<i32> = known.into_keys().filter(|id| !is_ours(id)).collect();
    let own: Vec<i32> = attached.keys().copied().collect();
    engine.attached(&own, &others);
    let new = assignment.attached(attached);
    for read in &mut reads {
        read.seek = !new.contains(&read.partition);
    }
    Ok(reads)
}

/// Reads the owner, all positions and the kinds of values under the expiries keys, and asks for the logs of the
/// partitions to attach.
fn look<D: Door>(
    count: i32,
    waiting: &[i32],
    assignment: &Assignment,
    (lease, transaction): (&mut Lease<D>, &mut StoreTransaction),
    log: &impl Log,
) -> Result<BTreeMap<i32, Known>, Setback> {
    let all: Vec<i32> = (0..count).collect();
    let seen = lease.look(&all)?;
    match seen.owner {
        Some(owner) if owner != lease.owner() => {
            let error = crate::opening::foreign(&owner, lease.owner());
            return Err(Setback::Fatal(error));
        }
        Some(_) => {}
        None => {
            let owner = lease.owner().to_owned();
            transaction.owner(&owner);
        }
    }
    let expiries = lease.expiries(&all)?;
    let mut known = BTreeMap::new();
    for ((id, text), expiries) in all.into_iter().zip(seen.positions).zip(expiries) {
        let log = match waiting.contains(&id) {
            true => Some(log.range(id).map_err(brokers)?),
            false => None,
        };
        let own = Known {
            stored: text.and_then(|text| text.parse().ok()),
            log,
            cause: assignment.causes().get(&id).copied(),
            expiries,
        };
        known.insert(id, own);
    }
    Ok(known)
}

/// Reads the positions to write once more, and WATCHes these alone: other workers write all the time, and asking Kafka
/// has taken a while. Another worker's partition may have moved on meanwhile; it must share users as before.
fn confirm<D: Door>(
    known: &BTreeMap<i32, Known>,
    waiting: &[i32],
    decided: &BTreeMap<i32, Decided>,
    lease: &mut Lease<D>,
) -> Result<(), Setback> {
    let ids: Vec<i32> = decided.keys().copied().collect();
    let seen = lease.look(&ids)?;
    let mut owner = seen.owner.into_iter();
    let mut same = owner.all(|owner| owner == lease.owner());
    for (id, text) in ids.iter().zip(seen.positions) {
        let found: Option<Position> = text.and_then(|text| text.parse().ok());
        let stored = &known[id].stored;
        let shares = |position: &Option<Position>| {
            let position = position.as_ref();
            position.map(|position| (position.mixed, position.building.clone()))
        };
        same &= match decided[id].rebuilt && !waiting.contains(id) {
            true => shares(stored) == shares(&found),
            false => *stored == found,
        };
    }
    match same {
        true => Ok(()),
        false => Err(Setback::Superseded),
    }
}

/// Decides about all partitions at once.
fn decide_all(
    known: &BTreeMap<i32, Known>,
    moment: &Moment<'_>,
    log: &impl Log,
) -> Result<BTreeMap<i32, Decided>, Setback> {
    let mut decided = BTreeMap::new();
    for (id, resume) in resume(known, moment.present) {
        let own = &known[&id];
        match decide(id, own, resume, moment, log) {
            Ok(position) => drop(decided.insert(id, position)),
            // The partition may share users or not; its own worker will ask the same again.
            Err(error) if own.log.is_none() && own.stored.is_none() => {
                tracing::debug!(partition = id, "left to its own worker: {error:#}");
            }
            Err(error) => return Err(brokers(error)),
        }
    }
    share_gaps(&mut decided, moment.now);
    for (id, own) in &mut decided {
        // Only expiries that exist can hold users of an earlier building.
        own.position.unswept &= known[id].expiries == Expiries::Users;
    }
    Ok(decided)
}

fn rejects<D: Door>(
    lease: &mut Lease<D>,
    partition: i32,
    position: &Position,
) -> Result<Rejects, Setback> {
    let (mut fields, mut cursor) = (Vec::new(), 0);
    loop {
        let page = lease.rejected(partition, cursor, PAGE)?;
        fields.extend(page.items);
        cursor = page.next;
        if cursor == 0 {
            return Ok(Rejects::restore(position, fields));
        }
    }
}

fn brokers(error: anyhow::Error) -> Setback {
    Setback::Brokers(in_words(&error))
}
