//! Turns the decision about a partition into the position to write.

use super::log::Log;
use crate::assignment::{Known, Present, Resume, Stretch, first_position};
use crate::store::{Position, Token, fingerprint};
use std::collections::BTreeMap;
use tidemill_core::kafka::LogRange;

pub(super) struct Decided {
    pub(super) position: Position,
    pub(super) read_from: i64,
    pub(super) check: Option<u64>,
    pub(super) gap: bool,
    pub(super) lost: i64,
    pub(super) rebuilt: bool,
}

/// Facts that all decisions of one attach share.
pub(super) struct Moment<'a> {
    pub(super) present: Present<'a>,
    /// A rebuild reads records from this Kafka time on (epoch ms).
    pub(super) since: i64,
    pub(super) token: Token,
    /// The wall clock (epoch ms).
    pub(super) now: i64,
}

/// Turns the decision about a partition into the position to write.
pub(super) fn decide(
    id: i32,
    own: &Known,
    resume: Resume,
    moment: &Moment<'_>,
    log: &impl Log,
) -> anyhow::Result<Decided> {
    let Moment {
        present,
        since,
        token,
        now,
    } = *moment;
    match (resume, &own.stored) {
        (Resume::Continue { at, check }, Some(stored)) => {
            let mut position = stored.clone();
            position.token = token;
            position.building.topic = present.topic.or(position.building.topic);
            Ok(Decided {
                position,
                read_from: at,
                check,
                gap: false,
                lost: 0,
                rebuilt: false,
            })
        }
        (Resume::Gap { lost, at }, Some(stored)) => {
            tracing::warn!(
                partition = id,
                lost,
                "retention deleted records before they were applied, going on at the log's start"
            );
            Ok(Decided {
                position: behind_gap(stored, at, token, now),
                read_from: at,
                check: None,
                gap: true,
                lost,
                rebuilt: false,
            })
        }
        (Resume::Mark { at, check }, Some(stored)) => Ok(Decided {
            position: Position {
                token,
                complete_from: Some(now + 1),
                unswept: true,
                ..stored.clone()
            },
            read_from: at,
            check,
            gap: false,
            lost: 0,
            rebuilt: false,
        }),
        (Resume::Rebuild(cause), stored) => {
            let LogRange { oldest: start, end } = log.range(id)?;
            let from = log.offset_at(id, since)?;
            let first = if start > 0 { log.offset_at(id, 0)? } else { 0 };
            let stretch = Stretch {
                start,
                first,
                end,
                from,
            };
            let drawn = (draw(id, token), token, now);
            let position = first_position(stored.as_ref(), cause, stretch, present, drawn);
            tracing::info!(
                partition = id,
                reason = %cause,
                start = position.offset,
                end,
                "building windows from the log"
            );
            Ok(Decided {
                read_from: position.offset,
                check: None,
                gap: stretch.is_cut(),
                lost: 0,
                rebuilt: true,
                position,
            })
        }
        (Resume::Continue { .. } | Resume::Gap { .. } | Resume::Mark { .. }, None) => {
            anyhow::bail!("partition {id} has no position to go on from")
        }
    }
}

/// The position behind records that retention deleted before they were applied.
fn behind_gap(stored: &Position, at: i64, token: Token, now: i64) -> Position {
    Position {
        offset: at,
        token,
        last: None,
        shown: stored.shown.filter(|shown| at < shown.until),
        warm_until: stored.warm_until.filter(|until| at < *until),
        // A guess until the first record tells. The sweep marks all hashes, those of silent users too.
        complete_from: Some(now + 1),
        unswept: true,
        ..stored.clone()
    }
}

/// Partitions that are rebuilt together may share users: if one of them lost records, the hashes of all say so.
pub(super) fn share_gaps(decided: &mut BTreeMap<i32, Decided>, now: i64) {
    if decided.values().any(|own| own.rebuilt && own.gap) {
        for own in decided.values_mut().filter(|own| own.rebuilt) {
            own.position.complete_from = Some(now + 1);
        }
    }
}

/// A number that no other write draws for this partition, so that no window of another building is taken for one of
/// this.
fn draw(partition: i32, token: Token) -> u32 {
    let instance = token.instance.to_le_bytes();
    let words = (Some(&instance[..]), partition.to_le_bytes());
    (fingerprint(Some(token.count as i64), words.0, Some(&words.1)) >> 16) as u32
}
