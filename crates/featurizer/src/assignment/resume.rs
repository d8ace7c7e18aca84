//! Decides where each partition resumes, over all partitions at once.
//!
//! A rebuild includes every partition that shares users with the one that has to be rebuilt: the state of a shared user
//! holds events of several partitions, so a rebuild of one alone would double or lose the events of the others.

use crate::relapse::{Relapse, relapsed};
use crate::store::{Expiries, Position};
use std::collections::BTreeMap;
use std::fmt;
use tidemill_core::kafka::{Log, LogFit, LogRange, StoredPosition, TopicId};

/// The reason why a partition's windows have to be built from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// No position is stored.
    NoPosition,
    /// The stored windows have other feature definitions.
    Definitions,
    /// Kafka's id of the topic has changed.
    Topic,
    /// The position lies beyond the end of the log.
    Truncated,
    /// The log holds another record before the position.
    OtherRecord,
    /// A stored window of the partition cannot be read.
    Unreadable,
    /// A stored window cannot be read, and neither can its home: it may be any partition's.
    UnreadableHome,
    /// Another program keeps a value under the key of the partition's expiries, so nobody knows which users are due.
    Expiries,
    /// Redis refused a command of a transaction.
    Torn,
    /// While the windows were built, an erasure took newer events of other partitions that were read before it. The
    /// next building knows the erasure.
    EarlyEvents,
    /// A partition that it shares users with is rebuilt.
    Shares,
}

impl Cause {
    /// True if the position belongs to another log: its offsets mean nothing now.
    pub(crate) fn is_other_log(self) -> bool {
        matches!(self, Self::Topic | Self::Truncated | Self::OtherRecord)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPosition => "no position is stored",
            Self::Definitions => "the stored windows have other feature definitions",
            Self::Topic => "the topic was made anew",
            Self::Truncated => {
                "the stored position is beyond the end of the log, which was cut or made anew"
            }
            Self::OtherRecord => "the log holds another record before the stored position",
            Self::Unreadable | Self::UnreadableHome => "a stored window cannot be read",
            Self::Expiries => {
                "another program keeps something under the key of its expiries, which is removed"
            }
            Self::Torn => "Redis refused a part of what was written",
            Self::EarlyEvents => {
                "erasures were met after newer events of other partitions, which count now that the erasures are known"
            }
            Self::Shares => "it shares users with a partition that is rebuilt",
        })
    }
}

/// Facts about a partition when its worker attaches it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The stored position.
    pub(crate) stored: Option<Position>,
    /// Its log; only for a partition that is to be attached.
    pub(crate) log: Option<LogRange>,
    /// A cause that was found while the partition was read.
    pub(crate) cause: Option<Cause>,
    /// The kind of value under the key of its expiries.
    pub(crate) expiries: Expiries,
}

/// The source from which windows are built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present<'a> {
    /// Fingerprint of the feature definitions.
    pub(crate) definitions: &'a str,
    /// Kafka's id of the topic; `None` if the brokers do not report it.
    pub(crate) topic: Option<TopicId>,
}

/// The point at which a partition resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Reading begins at `at`; if the record before the position is read, it must have the fingerprint `check`.
    Continue { at: i64, check: Option<u64> },
    /// Retention deleted `lost` offsets before they were applied; reading begins at the log's start `at`.
    Gap { lost: i64, at: i64 },
    /// It shares users with a partition that lost records: it resumes as with `Continue`, and its hashes are marked.
    Mark { at: i64, check: Option<u64> },
    /// The windows are built from the log.
    Rebuild(Cause),
}

/// Decides for every partition that is to be attached (those with a log range), and for every other one that a rebuild
/// includes.
pub(crate) fn resume(known: &BTreeMap<i32, Known>, present: Present<'_>) -> BTreeMap<i32, Resume> {
    let mut decided = BTreeMap::new();
    for (id, own) in known {
        let foreign = own.expiries == Expiries::Foreign;
        match (own.cause.or(foreign.then_some(Cause::Expiries)), own.log) {
            (Some(cause), _) => drop(decided.insert(*id, Resume::Rebuild(cause))),
            (None, Some(log)) => {
                let alone = alone(own.stored.as_ref(), log, present);
                decided.insert(*id, alone);
            }
            (None, None) => {}
        }
    }
    let causes: Vec<(i32, Cause)> = decided
        .iter()
        .filter_map(|(id, resume)| match resume {
            Resume::Rebuild(cause) => Some((*id, *cause)),
            _ => None,
        })
        .collect();
    let all = causes
        .iter()
        .any(|(_, cause)| *cause == Cause::UnreadableHome);
    // A partition without a position may have shared users with any other. It has no users any more: its own worker
    // builds it anew.
    let shares = |own: &Known| own.stored.as_ref().is_none_or(|stored| stored.mixed);
    let any = causes.iter().any(|(id, _)| shares(&known[id]));
    let again = |(_, cause): &(i32, Cause)| *cause == Cause::EarlyEvents;
    let along = match causes.iter().all(again) {
        true => Cause::EarlyEvents,
        false => Cause::Shares,
    };
    if (all || any) && !relapsed(Relapse::RebuiltAlone) {
        for (id, own) in known {
            let rebuilt = matches!(decided.get(id), Some(Resume::Rebuild(_)));
            if !rebuilt && own.stored.is_some() && (all || shares(own)) {
                decided.insert(*id, Resume::Rebuild(along));
            }
        }
    }
    let gaps = decided
        .iter()
        .filter(|(_, own)| matches!(own, Resume::Gap { .. }));
    if gaps.into_iter().any(|(id, _)| shares(&known[id])) {
        mark(known, &mut decided);
    }
    decided
}

/// True if the windows of all partitions are built, by their stored positions. A partition without a position will
/// have all others rebuilt that may share users with it.
pub(crate) fn all_are_built(positions: &[Option<String>]) -> bool {
    positions.iter().all(|text| {
        let position = text.as_deref().and_then(|text| text.parse().ok());
        position.is_some_and(|position: Position| position.warm_until.is_none())
    })
}

/// Marks the partitions that share users with one that has lost records.
fn mark(known: &BTreeMap<i32, Known>, decided: &mut BTreeMap<i32, Resume>) {
    for (id, own) in known {
        let Some(stored) = own.stored.as_ref().filter(|stored| stored.mixed) else {
            continue;
        };
        match decided.get(id) {
            None => {
                let (at, check) = (stored.offset, None);
                decided.insert(*id, Resume::Mark { at, check });
            }
            Some(Resume::Continue { at, check }) => {
                let (at, check) = (*at, *check);
                decided.insert(*id, Resume::Mark { at, check });
            }
            Some(_) => {}
        }
    }
}

/// Decides for one partition by its stored position and its log alone.
fn alone(stored: Option<&Position>, range: LogRange, present: Present<'_>) -> Resume {
    let Some(stored) = stored else {
        return Resume::Rebuild(Cause::NoPosition);
    };
    let building = &stored.building;
    if building.definitions != present.definitions {
        return Resume::Rebuild(Cause::Definitions);
    }
    // The record before the position is compared when it is read again.
    let position = StoredPosition::<u64> {
        topic: building.topic,
        next: stored.until(),
        last: None,
    };
    let log = Log {
        topic: present.topic,
        range,
        last: None,
    };
    match position.fit(&log) {
        LogFit::OtherTopic => return Resume::Rebuild(Cause::Topic),
        LogFit::Ahead => return Resume::Rebuild(Cause::Truncated),
        LogFit::OtherRecords => return Resume::Rebuild(Cause::OtherRecord),
        LogFit::Same | LogFit::Behind(_) => {}
    }
    let start = range.oldest;
    if stored.offset < start {
        return Resume::Gap {
            lost: start - stored.offset,
            at: start,
        };
    }
    match stored.last {
        Some(last) if stored.offset > start => Resume::Continue {
            at: stored.offset - 1,
            check: Some(last),
        },
        _ => Resume::Continue {
            at: stored.offset,
            check: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Shown;
    use crate::store::position::tests::{TOPIC, stored};

    fn present() -> Present<'static> {
        Present {
            definitions: "00ff",
            topic: TOPIC.parse().ok(),
        }
    }

    fn range((oldest, end): (i64, i64)) -> LogRange {
        LogRange { oldest, end }
    }

    fn rebuild(cause: Cause) -> Resume {
        Resume::Rebuild(cause)
    }

    #[test]
    fn one_partition_goes_on_where_its_position_and_its_log_agree() {
        let at = |at, check| Resume::Continue { at, check };
        let alone = |position: &Position, log| alone(Some(position), range(log), present());
        for (last, log, expected) in [
            (Some(1), (0, 10), at(9, Some(1))),
            (Some(1), (9, 20), at(9, Some(1))),
            (Some(1), (10, 20), at(10, None)),
            (None, (0, 20), at(10, None)),
            (Some(1), (12, 20), Resume::Gap { lost: 2, at: 12 }),
            (Some(1), (0, 9), rebuild(Cause::Truncated)),
        ] {
            assert_eq!(alone(&stored(10, last), log), expected, "{last:?} {log:?}");
        }
        let mut shown = stored(10, Some(1));
        shown.shown = Some(Shown {
            from: 12,
            until: 15,
            last: Some(1),
        });
        assert_eq!(alone(&shown, (0, 15)), at(9, Some(1)));
        assert_eq!(alone(&shown, (0, 14)), rebuild(Cause::Truncated));
    }

    #[test]
    fn other_definitions_and_other_topics_are_a_rebuild() {
        let decide =
            |position: Option<&Position>, present| alone(position, range((0, 20)), present);
        let own = stored(10, None);
        assert_eq!(decide(None, present()), rebuild(Cause::NoPosition));
        let definitions = Present {
            definitions: "11",
            ..present()
        };
        assert_eq!(decide(Some(&own), definitions), rebuild(Cause::Definitions));
        let topic = Present {
            topic: "AAAAAAAAAAAAAAAAAAAAAg".parse().ok(),
            ..present()
        };
        assert_eq!(decide(Some(&own), topic), rebuild(Cause::Topic));
        let untold = Present {
            topic: None,
            ..present()
        };
        assert!(matches!(
            decide(Some(&own), untold),
            Resume::Continue { .. }
        ));
    }

    /// Partitions: mixed or not, `None` for one without a position; the first `waiting` are to be attached.
    fn known(mixed: &[Option<bool>], waiting: usize) -> BTreeMap<i32, Known> {
        let known = mixed.iter().zip(0..).map(|(mixed, id)| {
            let stored = mixed.map(|mixed| Position {
                mixed,
                ..stored(10, None)
            });
            let known = Known {
                stored,
                log: ((id as usize) < waiting).then_some(range((0, 20))),
                ..Known::default()
            };
            (id, known)
        });
        known.collect()
    }

    fn rebuilt(known: &BTreeMap<i32, Known>) -> Vec<i32> {
        let decided = resume(known, present()).into_iter();
        decided
            .filter_map(|(id, resume)| matches!(resume, Resume::Rebuild(_)).then_some(id))
            .collect()
    }

    #[test]
    fn a_rebuild_takes_along_whom_the_partition_may_share_users_with() {
        let (yes, no) = (Some(true), Some(false));
        for (mixed, cause, expected) in [
            // Nothing is wrong.
            (vec![yes, yes, no], None, vec![]),
            // A partition that shares no user is rebuilt alone, whatever the cause.
            (vec![no, yes, yes], Some(Cause::OtherRecord), vec![0]),
            (vec![no, yes, yes], Some(Cause::Torn), vec![0]),
            // One that shares users takes all along that do, and those that may.
            (
                vec![yes, yes, no, yes],
                Some(Cause::Unreadable),
                vec![0, 1, 3],
            ),
            (vec![yes, no, None], Some(Cause::OtherRecord), vec![0]),
            // A lost position may have been one that shared users.
            (vec![None, no, yes, None], None, vec![0, 2]),
            (vec![None, no, no], None, vec![0]),
            // A window that may belong to any partition.
            (vec![no, no, no], Some(Cause::UnreadableHome), vec![0, 1, 2]),
        ] {
            let mut known = known(&mixed, 1);
            known.get_mut(&0).unwrap().cause = cause;
            assert_eq!(rebuilt(&known), expected, "{mixed:?} {cause:?}");
        }
    }

    #[test]
    fn a_second_building_takes_along_whom_the_partition_shares_users_with() {
        let mut known = known(&[Some(true), Some(true), Some(false)], 1);
        known.get_mut(&0).unwrap().cause = Some(Cause::EarlyEvents);
        let again = rebuild(Cause::EarlyEvents);
        let expected = BTreeMap::from([(0, again), (1, again)]);
        assert_eq!(resume(&known, present()), expected);
        known.get_mut(&1).unwrap().cause = Some(Cause::Torn);
        let third = known.get_mut(&2).unwrap().stored.as_mut();
        third.unwrap().mixed = true;
        let decided = resume(&known, present());
        assert_eq!(
            decided[&2],
            rebuild(Cause::Shares),
            "not for erasures alone"
        );
    }

    #[test]
    fn partitions_are_built_when_none_warms_up() {
        let warming = Position {
            warm_until: Some(20),
            ..stored(10, None)
        };
        let text = |position: &Position| Some(position.to_string());
        let built = text(&stored(10, None));
        for (positions, expected) in [
            (vec![built.clone(), built.clone()], true),
            (vec![built.clone(), text(&warming)], false),
            (vec![built.clone(), None], false),
            (vec![built, Some("?".into())], false),
        ] {
            assert_eq!(all_are_built(&positions), expected, "{positions:?}");
        }
    }

    #[test]
    fn foreign_expiries_have_a_partition_rebuilt_whoever_owns_it() {
        for waiting in [1, 2] {
            let mut known = known(&[Some(false), Some(false)], waiting);
            known.get_mut(&1).unwrap().expiries = Expiries::Foreign;
            let decided = resume(&known, present());
            assert_eq!(decided[&1], rebuild(Cause::Expiries));
            assert!(matches!(decided[&0], Resume::Continue { .. }));
        }
    }

    #[test]
    fn partitions_that_are_not_to_be_attached_are_left_alone() {
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(rebuilt(&known(&[no, None, yes], 1)), [0; 0]);
        assert_eq!(resume(&known(&[no, no], 1), present()).len(), 1);
        let mut foreign = known(&[no, no], 1);
        foreign.get_mut(&1).unwrap().cause = Some(Cause::Unreadable);
        assert_eq!(
            rebuilt(&foreign),
            [1],
            "a window of another worker's partition"
        );
    }

    #[test]
    fn lost_records_are_told_by_all_partitions_that_share_users() {
        let decide = |mixed: &[Option<bool>]| {
            let mut known = known(mixed, 2);
            known.get_mut(&0).unwrap().log = Some(range((15, 20)));
            known.get_mut(&1).unwrap().stored.as_mut().unwrap().last = Some(7);
            resume(&known, present())
        };
        let gap = Resume::Gap { lost: 5, at: 15 };
        // A log that was replaced is still noticed.
        let (at, check) = (9, Some(7));
        let own = Resume::Mark { at, check };
        let foreign = Resume::Mark {
            at: 10,
            check: None,
        };
        let (yes, no) = (Some(true), Some(false));
        let found = decide(&[yes, yes, yes, no]);
        assert_eq!(found, BTreeMap::from([(0, gap), (1, own), (2, foreign)]));
        let found = decide(&[no, yes, yes]);
        let goes_on = Resume::Continue { at, check };
        assert_eq!(found, BTreeMap::from([(0, gap), (1, goes_on)]));
    }

    #[test]
    fn each_cause_says_what_was_found_and_some_make_offsets_void() {
        let other = [Cause::Topic, Cause::Truncated, Cause::OtherRecord];
        for cause in [
            Cause::NoPosition,
            Cause::Definitions,
            Cause::Topic,
            Cause::Truncated,
            Cause::OtherRecord,
            Cause::Unreadable,
            Cause::UnreadableHome,
            Cause::Expiries,
            Cause::Torn,
            Cause::EarlyEvents,
            Cause::Shares,
        ] {
            assert!(!cause.to_string().is_empty());
            assert_eq!(cause.is_other_log(), other.contains(&cause), "{cause}");
        }
    }
}
