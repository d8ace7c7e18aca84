//! The rejected records of a partition: they decide which copies count and which records need a dead letter.
//!
//! Redis stores them in a hash next to the position. A field is an offset; its value is `incarnation:epoch:verdict:by`
//! of the building that judged the record last, at the record or copy with the offset `by`. A field of an earlier
//! building only says that the dead letter was written; a field of another incarnation says nothing. Records after the
//! position are read again: what was judged by one of them is undone.

use crate::relapse::{Relapse, relapsed};
use crate::store::{Building, Position, StoreTransaction};
use std::collections::{BTreeMap, BTreeSet};
use tidemill_core::record::resent::{Judged, Verdict};

/// Field that holds the first offset whose verdict is remembered.
const FLOOR: &str = "floor";
/// Field that holds the ranges of offsets that retention deleted before they were read.
const SKIPPED: &str = "skipped";

#[derive(Clone, Debug)]
pub(crate) struct Rejects {
    /// Prefix of the stored values: `incarnation:epoch`.
    building: String,
    judged: Judged,
    /// Records with a dead letter that this building has not judged yet.
    lettered: BTreeSet<i64>,
    /// Verdicts that are not stored yet, each with the offset that it was judged by; `None` for one that was forgotten.
    changes: BTreeMap<i64, Option<(Verdict, i64)>>,
}

impl Rejects {
    /// Reads the stored fields for the building of a position.
    pub(crate) fn restore(
        position: &Position,
        fields: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let Building {
            epoch,
            incarnation,
            begin,
            ..
        } = &position.building;
        let (log, building) = (
            format!("{incarnation:x}:"),
            format!("{incarnation:x}:{epoch:x}"),
        );
        let (mut floor, mut own, mut lettered) = (0, Vec::new(), BTreeSet::new());
        let (mut skipped, mut changes) = (Vec::new(), BTreeMap::new());
        for (field, value) in fields {
            let of_building = value.strip_prefix(&building);
            let of_building = of_building.and_then(|rest| rest.strip_prefix(':'));
            match (field.as_str(), field.parse::<i64>()) {
                (FLOOR, _) => {
                    floor = of_building
                        .and_then(|floor| floor.parse().ok())
                        .unwrap_or(0)
                }
                (SKIPPED, _) => skipped.extend(of_building.into_iter().flat_map(stretches)),
                (_, Ok(offset)) => match of_building.map(|judged| verdict(judged, position.offset))
                {
                    Some(Stored::Verdict(verdict)) => own.push((offset, verdict)),
                    Some(Stored::ReadAgain { by, rejected }) => {
                        if rejected {
                            lettered.insert(offset);
                        }
                        if by != offset {
                            own.push((offset, Verdict::Rejected));
                        }
                    }
                    None if value.starts_with(&log) => drop(lettered.insert(offset)),
                    None => drop(changes.insert(offset, None)),
                },
                _ => {}
            }
        }
        let mut judged = Judged::restore(*begin, floor, own);
        skipped
            .into_iter()
            .for_each(|(from, to)| judged.skip(from, to));
        Self {
            building,
            judged,
            lettered,
            changes,
        }
    }

    /// Notes and writes that retention deleted the records from one offset up to another before they were read.
    pub(crate) fn skip(
        &mut self,
        (from, to): (i64, i64),
        partition: i32,
        transaction: &mut StoreTransaction,
    ) {
        self.judged.skip(from, to);
        let stretches = self.judged.skipped().iter();
        let stretches = stretches.map(|(from, to)| format!("{from}-{to}"));
        let stretches = stretches.collect::<Vec<_>>().join(",");
        let value = format!("{}:{stretches}", self.building);
        transaction.reject(partition, SKIPPED, &value);
    }

    /// Notes a rejected record. True if it needs a dead letter, since it has none yet.
    pub(crate) fn reject(&mut self, offset: i64) -> bool {
        self.reject_by(offset, offset)
    }

    /// Notes that an admitted copy of `original`, at offset `by`, was rejected in turn. True if the original needs a dead
    /// letter.
    pub(crate) fn reject_copy(&mut self, original: i64, by: i64) -> bool {
        // If this building has judged the original, it was rejected and has its letter.
        self.reject_by(original, by) && original < self.judged.begin()
    }

    fn reject_by(&mut self, offset: i64, by: i64) -> bool {
        let floor = self.judged.floor();
        self.judged.reject(offset);
        self.changes.insert(offset, Some((Verdict::Rejected, by)));
        self.forget(floor);
        !self.lettered.remove(&offset)
    }

    /// Notes that a copy of `original` arrived at offset `next`. True if the copy counts.
    pub(crate) fn admit(&mut self, original: i64, next: i64) -> bool {
        let floor = self.judged.floor();
        let counts = self.judged.admit(original, next);
        if counts && original < next {
            self.changes
                .insert(original, Some((Verdict::Counted, next)));
            self.forget(floor);
        }
        counts
    }

    /// Has the oldest verdict removed from the store, if the new one has evicted it.
    fn forget(&mut self, floor: i64) {
        if self.judged.floor() > floor {
            self.changes.insert(self.judged.floor() - 1, None);
        }
    }

    /// Bytes of memory, estimated.
    pub(crate) fn bytes(&self) -> usize {
        self.judged.bytes() + self.lettered.len() * size_of::<i64>() * 2
    }

    /// Writes the verdicts that are not stored yet.
    pub(crate) fn write(&mut self, partition: i32, transaction: &mut StoreTransaction) {
        for (offset, verdict) in std::mem::take(&mut self.changes) {
            let field = offset.to_string();
            let (verdict, by) = match verdict {
                Some((Verdict::Rejected, by)) => ("rejected", by),
                Some((Verdict::Counted, by)) => ("counted", by),
                None => {
                    transaction.forget_reject(partition, &field);
                    let floor = format!("{}:{}", self.building, self.judged.floor());
                    transaction.reject(partition, FLOOR, &floor);
                    continue;
                }
            };
            let value = format!("{}:{verdict}:{by}", self.building);
            transaction.reject(partition, &field, &value);
        }
    }
}

/// A stored verdict of the present building.
enum Stored {
    Verdict(Verdict),
    /// The record that it was judged by is read again.
    ReadAgain {
        by: i64,
        rejected: bool,
    },
}

/// Reads a verdict of a partition whose stored windows hold the records before `position`.
fn verdict(judged: &str, position: i64) -> Stored {
    let (verdict, by) = judged.split_once(':').unwrap_or((judged, ""));
    let rejected = verdict != "counted";
    match by.parse() {
        Ok(by) if by >= position && !relapsed(Relapse::VerdictsKept) => {
            Stored::ReadAgain { by, rejected }
        }
        _ if rejected => Stored::Verdict(Verdict::Rejected),
        _ => Stored::Verdict(Verdict::Counted),
    }
}

fn stretches(text: &str) -> impl Iterator<Item = (i64, i64)> {
    text.split(',').filter_map(|stretch| {
        let (from, to) = stretch.split_once('-')?;
        Some((from.parse().ok()?, to.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::position::tests::stored;

    fn restore(begin: i64, fields: &[(&str, &str)]) -> Rejects {
        let mut position = stored(50, None);
        position.building.begin = begin;
        let fields = fields.iter();
        let fields = fields.map(|(field, value)| ((*field).to_owned(), (*value).to_owned()));
        Rejects::restore(&position, fields)
    }

    #[test]
    fn each_original_has_one_letter_whatever_is_rebuilt() {
        let mut rejects = restore(
            0,
            &[("7", "4:3:rejected:7"), ("9", "4:9:rejected:9"), ("x", "y")],
        );
        assert!(rejects.reject(8), "new");
        assert!(!rejects.reject(7), "an earlier building wrote it");
        assert!(
            rejects.admit(9, 60) && !rejects.reject_copy(9, 60),
            "the original has it"
        );
        let mut other = restore(0, &[("7", "5:3:rejected:7")]);
        assert!(other.reject(7), "that was a record of another log");
        let mut later = restore(10, &[]);
        assert!(
            later.admit(3, 60) && later.reject_copy(3, 60),
            "rejected by nobody before"
        );
    }

    #[test]
    fn copies_of_records_that_were_deleted_unread_count() {
        let mut rejects = restore(0, &[("skipped", "4:9:2-3,20-30")]);
        assert!(rejects.admit(25, 60) && !rejects.admit(25, 61) && !rejects.admit(30, 60));
        let mut other = restore(0, &[("skipped", "4:8:20-30")]);
        assert!(!other.admit(25, 60), "of another building");
    }

    #[test]
    fn copies_count_once_and_only_if_this_building_rejected_their_original() {
        let mut rejects = restore(
            5,
            &[
                ("7", "4:3:rejected:7"),
                ("8", "4:9:counted:30"),
                ("9", "4:9:rejected:9"),
            ],
        );
        for (original, counts) in [(7, false), (8, false), (9, true), (9, false), (10, false)] {
            assert_eq!(rejects.admit(original, 60), counts, "{original}");
        }
        assert!(
            rejects.admit(4, 60) && !rejects.admit(4, 61),
            "before the building began"
        );
        assert!(rejects.admit(99, 60), "no record of this log");
    }

    #[test]
    fn what_records_after_the_position_have_judged_is_judged_again() {
        let mut rejects = restore(
            5,
            &[
                ("7", "4:9:rejected:7"),
                ("8", "4:9:counted:50"),
                ("9", "4:9:counted:49"),
                ("3", "4:9:rejected:51"),
                ("52", "4:9:rejected:52"),
            ],
        );
        assert!(
            rejects.admit(8, 50) && !rejects.admit(8, 60),
            "the copy at 50 is read again"
        );
        assert!(!rejects.admit(9, 60), "the copy at 49 is in the windows");
        assert!(
            rejects.admit(3, 51) && !rejects.reject_copy(3, 51),
            "it has its letter"
        );
        assert!(!rejects.admit(52, 60), "not judged yet");
        assert!(!rejects.reject(52), "it has its letter");
        assert!(rejects.admit(52, 60));
    }
}
