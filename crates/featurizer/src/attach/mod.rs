//! Takes partitions: asks store and log, has the decision made for all of them at once, and writes it down.
//!
//! The write fences off the earlier owner, whose next transaction is refused from then on.
//!
//! - `decided`: the position of each partition
//! - `log`: what is asked of Kafka

mod decided;
mod log;

pub(crate) use log::Log;

use crate::assignment::{
    Assignment, Cause, Known, MARGIN_MS, OwnedPartition, Present, Rejects, resume,
};
use crate::engine::Engine;
use crate::relapse::{Relapse, relapsed};
use crate::setback::Setback;
use crate::store::{Door, Lease, Outcome, Position, StoreTransaction};
use decided::{Decided, Moment, decide, share_gaps};
use std::collections::BTreeMap;

/// Fields of a partition's rejected records that are read at once.
const PAGE: usize = 1000;

/// A partition that was attached, and what its worker has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    /// The partition.
    pub(crate) partition: i32,
    /// The first offset to be read.
    pub(crate) read_from: i64,
    /// The consumer reads the partition already: it has to seek.
    pub(crate) seek: bool,
    /// Offsets that retention deleted before they were applied.
    pub(crate) lost: i64,
}

/// Attaches partitions that wait, and those of the worker that a rebuild takes along. Nothing of the worker may be under
/// way.
pub(crate) fn attach<D: Door>(
    waiting: &[i32],
    assignment: &mut Assignment,
    engine: &mut Engine<D>,
    log: &impl Log,
) -> Result<Vec<Attached>, Setback> {
    let now = engine.now();
    let definitions = engine.rules().definitions.fingerprint().to_owned();
    let longest = engine.rules().definitions.longest_ms();
    let topic = log.topic_id().map_err(brokers)?;
    let (lease, transaction) = engine.connect()?;
    let known = look(waiting, assignment, lease, transaction, log)?;
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
    let mut decided = BTreeMap::new();
    for (id, resume) in resume(&known, present) {
        let own = &known[&id];
        match decide(id, own, resume, &moment, log) {
            Ok(position) => drop(decided.insert(id, position)),
            // Nobody knows if it shares users; its own worker will ask the same again.
            Err(error) if own.log.is_none() && own.stored.is_none() => {
                tracing::debug!(partition = id, "left to its own worker: {error:#}");
            }
            Err(error) => return Err(brokers(error)),
        }
    }
    share_gaps(&mut decided, now);
    if !relapsed(Relapse::RebuiltForever) {
        // Its events come back with the rebuild, or are gone from the log.
        assignment
            .spoilt()
            .for_each(|user| transaction.delete(user));
    }
    find_remains(&mut decided, lease, transaction)?;
    let mut attached = BTreeMap::new();
    let mut reads = Vec::new();
    let is_ours = |id: &i32| waiting.contains(id) || assignment.get(*id).is_some();
    for (id, own) in decided {
        transaction.position(id, own.position.clone());
        if is_ours(&id) {
            let mut rejects = rejects(lease, id, &own.position)?;
            if own.lost > 0 {
                let end = own.position.offset;
                rejects.skip((end - own.lost, end), id, transaction);
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
    let others: Vec<i32> = known.into_keys().filter(|id| !is_ours(id)).collect();
    let own: Vec<i32> = attached.keys().copied().collect();
    engine.attached(&own, &others);
    let new = assignment.attached(attached);
    for read in &mut reads {
        read.seek = !new.contains(&read.partition);
    }
    Ok(reads)
}

/// Reads the owner and all positions, and asks for the logs of the partitions that wait.
fn look<D: Door>(
    waiting: &[i32],
    assignment: &Assignment,
    lease: &mut Lease<D>,
    transaction: &mut StoreTransaction,
    log: &impl Log,
) -> Result<BTreeMap<i32, Known>, Setback> {
    let count = log.partitions().map_err(brokers)?;
    // The topic may have shrunk, by being made anew.
    let gone = waiting.iter().copied().filter(|id| *id >= count);
    let all: Vec<i32> = (0..count).chain(gone).collect();
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
    let types = lease.expiry_types(&all)?;
    let mut known = BTreeMap::new();
    for ((id, text), kind) in all.into_iter().zip(seen.positions).zip(types) {
        let foreign = !matches!(kind.as_str(), "zset" | "none");
        let mut own = Known {
            stored: text.and_then(|text| text.parse().ok()),
            cause: assignment
                .causes()
                .get(&id)
                .copied()
                .or(foreign.then_some(Cause::Expiries)),
            log: None,
        };
        if waiting.contains(&id) {
            own.log = Some(log.range(id).map_err(brokers)?);
        }
        known.insert(id, own);
    }
    Ok(known)
}

/// Looks for users of an earlier building in the expiries of partitions that are rebuilt.
fn find_remains<D: Door>(
    decided: &mut BTreeMap<i32, Decided>,
    lease: &mut Lease<D>,
    transaction: &mut StoreTransaction,
) -> Result<(), Setback> {
    let unswept = decided.iter().filter(|(_, own)| own.position.unswept);
    let unswept: Vec<i32> = unswept.map(|(id, _)| *id).collect();
    for (id, kind) in unswept.iter().zip(lease.expiry_types(&unswept)?) {
        match (kind.as_str(), decided.get_mut(id)) {
            ("zset", _) => {}
            ("none", Some(own)) => own.position.unswept = false,
            // Another program's.
            _ => transaction.unlink_expiries(*id),
        }
    }
    Ok(())
}

/// Reads a partition's rejected records.
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
    Setback::Brokers(format!("{error:#}"))
}
