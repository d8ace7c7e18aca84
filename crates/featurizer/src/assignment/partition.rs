//! One partition that a worker has attached.

use super::rejects::Rejects;
use crate::batch::Progress;
use crate::relapse::{Relapse, relapsed};
use crate::store::{Again, Position, Shown, Token};

#[derive(Clone, Debug)]
pub(crate) struct OwnedPartition {
    /// The position as last written.
    position: Position,
    /// All records up to here are applied.
    applied: Progress,
    /// Next offset to take into a batch.
    next: i64,
    /// Fingerprint that the record before the position must have; compared once.
    check: Option<u64>,
    /// Retention deleted the log's first records: the first one left tells since when windows are complete.
    gap: bool,
    /// Offset at which the warm-up began, to report its progress.
    warm_from: i64,
    sweep: Sweep,
    rejects: Rejects,
}

/// State of the sweep over all users with an expiry, which follows a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// The next page is the one at this cursor.
    Page(u64),
    /// The last page is under way.
    LastPage,
    /// Every hash agrees with its window.
    Done,
}

/// The verdict on a record, by its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Skip it: it is in the stored windows, or was fetched before a seek.
    Past,
    /// Apply it now.
    Next,
    /// The log is not the one that was applied before.
    OtherLog,
}

impl OwnedPartition {
    /// A partition whose position was just written. `check` is the fingerprint of the record before it; `gap` is true
    /// if retention deleted the log's first records before they were applied.
    pub(crate) fn new(position: Position, check: Option<u64>, gap: bool, rejects: Rejects) -> Self {
        Self {
            applied: Progress {
                next: position.offset,
                last: position.last,
            },
            next: position.offset,
            warm_from: position.offset,
            check,
            gap,
            sweep: Sweep::Page(0),
            rejects,
            position,
        }
    }

    /// The position as last written.
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// All records up to here are applied: windows in memory hold them.
    pub(crate) fn applied(&self) -> Progress {
        self.applied
    }

    /// Next offset to take into a batch.
    pub(crate) fn next(&self) -> i64 {
        self.next
    }

    /// True if hashes show records that a batch up to `end` does not apply: they would go back.
    pub(crate) fn holds(&self, end: i64) -> bool {
        self.position.until() > end && !self.is_warming() && !relapsed(Relapse::ShownAgain)
    }

    /// True if hashes show records that are not applied again yet.
    pub(crate) fn is_behind(&self) -> bool {
        self.holds(self.applied.next)
    }

    /// True if every hash shows the record at `offset`.
    pub(crate) fn shows(&self, offset: i64) -> bool {
        offset < self.position.applied() || relapsed(Relapse::OwedForgotten)
    }

    pub(crate) fn rejects(&mut self) -> &mut Rejects {
        &mut self.rejects
    }

    /// Bytes of memory that the rejected records take.
    pub(crate) fn bytes(&self) -> usize {
        self.rejects.bytes()
    }

    /// True while the windows are built from the log; no hash is written meanwhile.
    pub(crate) fn is_warming(&self) -> bool {
        self.position.warm_until.is_some()
    }

    /// True if records that the windows are to be built from are not taken yet.
    pub(crate) fn has_more(&self) -> bool {
        self.position
            .warm_until
            .is_some_and(|until| self.next < until)
    }

    /// True once every hash is written.
    pub(crate) fn is_settled(&self) -> bool {
        !self.is_warming() && !self.is_behind() && self.sweep == Sweep::Done
    }

    /// Offsets that the warm-up has applied, and their total; `None` when there is no warm-up.
    pub(crate) fn warm_up(&self) -> Option<(i64, i64)> {
        let until = self.position.warm_until?;
        let done = self.applied.next - self.warm_from;
        Some((done, until - self.warm_from))
    }

    /// Judges a record by its offset; computes its fingerprint only when it is needed.
    pub(crate) fn turn(&mut self, offset: i64, fingerprint: impl FnOnce() -> u64) -> Turn {
        if offset >= self.next {
            self.check = None;
            // Hashes show this record, unless the log has been replaced.
            let shown = self.position.shown;
            let shown = shown.filter(|shown| offset + 1 == shown.until);
            return match shown.and_then(|shown| shown.last) {
                Some(last) if fingerprint() != last => Turn::OtherLog,
                _ => Turn::Next,
            };
        }
        match self.check.take() {
            Some(expected) if offset + 1 == self.position.offset && fingerprint() != expected => {
                Turn::OtherLog
            }
            _ => Turn::Past,
        }
    }

    /// Takes a record with this Kafka timestamp into the batch.
    pub(crate) fn take(&mut self, offset: i64, timestamp: Option<i64>) {
        self.next = offset + 1;
        if std::mem::take(&mut self.gap) {
            // Deleted records may have had the same millisecond.
            let complete = timestamp.map(|time| time + 1);
            self.position.complete_from = complete.or(self.position.complete_from);
        }
    }

    /// Notes that all records of the log were taken. A warm-up ends with them: its target may be the offset of a
    /// transaction marker, which the broker never delivers. Returns the progress to write if it ends at once, with no
    /// record in the batch.
    pub(crate) fn ended(&mut self) -> Option<Progress> {
        self.gap = false;
        let until = self.position.warm_until?.min(self.next);
        self.position.warm_until = (self.applied.next < until).then_some(until);
        (!self.is_warming()).then_some(self.applied)
    }

    /// Notes that all records before `progress` are applied.
    pub(crate) fn moved(&mut self, progress: Progress) {
        let Progress { next, last } = progress;
        self.applied = progress;
        let position = &mut self.position;
        position.warm_until = position.warm_until.filter(|until| next < *until);
        if next >= position.until() {
            let (from, until) = (next, next);
            position.shown = Some(Shown { from, until, last });
        }
    }

    /// Notes that the records before `progress` are applied for some users.
    pub(crate) fn partly_moved(&mut self, Progress { next, last }: Progress) {
        if next > self.position.until() {
            let (from, until) = (self.position.applied(), next);
            self.position.shown = Some(Shown { from, until, last });
        }
    }

    /// Moves the low-water mark to where the oldest change begins that is in no stored window; `low` may be a little
    /// before it, and is `None` if there is no such change. True if it has moved.
    pub(crate) fn store(&mut self, low: Option<Progress>) -> bool {
        let low = low.filter(|_| !relapsed(Relapse::PositionFirst));
        let Progress { next, last } = low.unwrap_or(self.applied);
        let position = &mut self.position;
        if next <= position.offset {
            return false;
        }
        (position.offset, position.last) = (next, last);
        position.shown = position.shown.filter(|shown| shown.until > next);
        true
    }

    /// Sets the token of the write that will store the position.
    pub(crate) fn sign(&mut self, token: Token) {
        self.position.token = token;
    }

    /// Notes that some user's state holds events of this partition and of others.
    pub(crate) fn mix(&mut self) {
        self.position.mixed = true;
    }

    /// Notes that the windows have to be built once more when they are built, unless that has been done already.
    pub(crate) fn build_again(&mut self) {
        if self.position.again == Again::No && !relapsed(Relapse::BuiltOnce) {
            self.position.again = Again::Due;
        }
    }

    /// True if the windows are built, and have to be built once more.
    pub(crate) fn is_due_again(&self) -> bool {
        !self.is_warming() && self.position.again == Again::Due
    }

    /// The sweep, once hashes may be written, and the first record behind a gap was taken.
    pub(crate) fn sweep(&self) -> Option<Sweep> {
        let waits = self.is_warming() || self.is_behind() || self.gap;
        (!waits).then_some(self.sweep)
    }

    /// True if the sweep has users to visit.
    pub(crate) fn is_unswept(&self) -> bool {
        self.position.unswept
    }

    /// Notes the progress of the sweep.
    pub(crate) fn swept(&mut self, sweep: Sweep) {
        self.sweep = sweep;
        self.position.unswept &= sweep != Sweep::Done;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::store::position::tests::stored;

    /// A partition at offset 10 that warms up to 20.
    pub(crate) fn partition(check: Option<u64>) -> OwnedPartition {
        let position = Position {
            warm_until: Some(20),
            unswept: true,
            ..stored(10, check)
        };
        let rejects = Rejects::restore(&position, []);
        OwnedPartition::new(position, check, false, rejects)
    }

    fn progress(next: i64, last: u64) -> Progress {
        let last = Some(last);
        Progress { next, last }
    }

    #[test]
    fn the_record_before_the_position_tells_whose_log_it_is() {
        assert_eq!(partition(Some(7)).turn(9, || 7), Turn::Past);
        assert_eq!(partition(Some(7)).turn(9, || 8), Turn::OtherLog);
        assert_eq!(partition(Some(7)).turn(8, || 8), Turn::Past);
        assert_eq!(partition(Some(7)).turn(10, || 8), Turn::Next);
        assert_eq!(partition(None).turn(9, || 8), Turn::Past);
    }

    /// A partition at offset 10 that is not warming up.
    fn warm() -> OwnedPartition {
        let mut own = partition(None);
        own.position.warm_until = None;
        own
    }

    #[test]
    fn the_last_record_that_a_hash_shows_tells_whose_log_it_is() {
        let shown = || {
            let mut own = warm();
            own.partly_moved(progress(15, 8));
            own
        };
        assert_eq!(shown().turn(13, || 9), Turn::Next);
        assert_eq!(shown().turn(14, || 8), Turn::Next);
        assert_eq!(shown().turn(14, || 9), Turn::OtherLog);
        assert_eq!(shown().turn(15, || 9), Turn::Next);
    }

    #[test]
    fn a_warm_up_ends_where_the_log_ends() {
        let mut own = partition(Some(7));
        assert_eq!(own.ended(), Some(progress(10, 7)), "no record is left");
        assert!(!own.is_warming() && own.ended().is_none());
        let mut own = partition(None);
        own.take(14, None);
        assert!(own.has_more());
        assert_eq!(own.ended(), None);
        assert!(!own.has_more(), "and no record follows");
        assert_eq!(
            own.position().warm_until,
            Some(15),
            "with the record in the batch"
        );
        own.moved(progress(15, 0));
        assert!(!own.is_warming());
    }

    #[test]
    fn a_warm_up_ends_at_its_target_though_the_log_goes_on() {
        let mut own = partition(None);
        own.moved(progress(19, 0));
        assert_eq!((own.is_warming(), own.warm_up()), (true, Some((9, 10))));
        own.moved(progress(20, 0));
        assert_eq!((own.is_warming(), own.warm_up()), (false, None));
    }

    #[test]
    fn hashes_show_a_batch_when_it_is_written_wholly() {
        let mut own = warm();
        let shown =
            |own: &OwnedPartition| own.position().shown.map(|shown| (shown.from, shown.until));
        own.partly_moved(progress(15, 8));
        assert_eq!(shown(&own), Some((10, 15)));
        own.moved(progress(15, 8));
        assert_eq!(shown(&own), Some((15, 15)));
        assert!(own.store(Some(progress(12, 3))) && !own.store(Some(progress(12, 3))));
        assert_eq!((own.position().offset, own.position().last), (12, Some(3)));
        assert_eq!(shown(&own), Some((15, 15)), "windows lack what they show");
        assert!(own.store(None) && !own.store(Some(progress(12, 3))));
        assert_eq!((own.position().offset, shown(&own)), (15, None));
    }

    #[test]
    fn who_resumes_is_behind_until_all_that_is_shown_is_applied_again() {
        let mut position = stored(10, None);
        let (from, until, last) = (14, 20, Some(4));
        position.shown = Some(Shown { from, until, last });
        let rejects = Rejects::restore(&position, []);
        let mut own = OwnedPartition::new(position, None, false, rejects);
        assert!(own.is_behind() && own.holds(19) && !own.holds(20));
        assert!(own.shows(13) && !own.shows(14) && own.sweep().is_none() && !own.is_settled());
        own.partly_moved(progress(18, 3));
        own.moved(progress(18, 3));
        own.store(Some(progress(11, 1)));
        assert_eq!(own.position().shown, Some(Shown { from, until, last }));
        own.partly_moved(progress(25, 9));
        let shown = own.position().shown.unwrap();
        assert_eq!((shown.from, shown.until), (14, 25));
        own.moved(progress(25, 9));
        assert!(!own.is_behind() && own.shows(24) && own.sweep().is_some());
    }

    #[test]
    fn a_warm_up_that_resumes_writes_no_hash_before_it_is_where_it_was() {
        let mut own = partition(None);
        own.partly_moved(progress(25, 8));
        own.store(None);
        let mut position = own.position().clone();
        assert_eq!((position.offset, position.until()), (10, 25));
        position.warm_until = Some(20);
        let rejects = Rejects::restore(&position, []);
        let mut own = OwnedPartition::new(position, None, false, rejects);
        assert!(own.is_warming() && !own.is_behind());
        own.moved(progress(20, 9));
        assert!(
            !own.is_warming() && own.is_behind(),
            "windows hold more already"
        );
        own.moved(progress(25, 8));
        assert!(!own.is_behind());
    }

    #[test]
    fn a_gap_ends_with_the_first_record_that_is_left() {
        let after = |records: &[Option<i64>]| {
            let mut position = stored(10, None);
            position.complete_from = Some(1_000);
            let rejects = Rejects::restore(&position, []);
            let mut own = OwnedPartition::new(position, None, true, rejects);
            assert_eq!(own.sweep(), None, "hashes wait for the time");
            for (time, offset) in records.iter().zip(10..) {
                own.take(offset, *time);
            }
            own.ended();
            assert_eq!(own.sweep(), Some(Sweep::Page(0)));
            own.position().complete_from
        };
        assert_eq!(after(&[Some(700), Some(800)]), Some(701));
        assert_eq!(after(&[None]), Some(1_000), "a record without a time");
        assert_eq!(after(&[]), Some(1_000), "no record");
    }

    #[test]
    fn hashes_are_settled_when_all_users_are_swept() {
        let mut own = partition(None);
        assert_eq!(own.sweep(), None, "it waits for the warm-up");
        own.moved(progress(20, 0));
        assert_eq!(
            (own.sweep(), own.is_settled()),
            (Some(Sweep::Page(0)), false)
        );
        own.swept(Sweep::LastPage);
        assert!(own.is_unswept(), "the page is not applied yet");
        own.swept(Sweep::Done);
        assert!(own.is_settled() && !own.is_unswept());
    }
}
