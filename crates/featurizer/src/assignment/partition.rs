//! One partition that a worker has attached.

use super::rejects::Rejects;
use crate::batch::Progress;
use crate::relapse::{Relapse, relapsed};
use crate::store::{Again, Ahead, Position, Token};

#[derive(Clone, Debug)]
pub(crate) struct OwnedPartition {
    /// The position as last written.
    position: Position,
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
    /// Skip it: it was applied before, or was fetched before a seek.
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

    /// Next offset to take into a batch.
    pub(crate) fn next(&self) -> i64 {
        self.next
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
        !self.is_warming() && self.sweep == Sweep::Done
    }

    /// Offsets that the warm-up has applied, and their total; `None` when there is no warm-up.
    pub(crate) fn warm_up(&self) -> Option<(i64, i64)> {
        let until = self.position.warm_until?;
        let done = self.position.offset - self.warm_from;
        Some((done, until - self.warm_from))
    }

    /// Judges a record by its offset; computes its fingerprint only when it is needed.
    pub(crate) fn turn(&mut self, offset: i64, fingerprint: impl FnOnce() -> u64) -> Turn {
        if offset >= self.next {
            self.check = None;
            // Users who are ahead have seen this record, unless the log has been replaced.
            let ahead = self.position.ahead;
            let ahead = ahead.filter(|ahead| offset + 1 == ahead.until);
            return match ahead {
                Some(ahead) if fingerprint() != ahead.last => Turn::OtherLog,
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
        let position = &mut self.position;
        let until = position.warm_until?.min(self.next);
        position.warm_until = (position.offset < until).then_some(until);
        (!self.is_warming()).then_some(self.progress())
    }

    /// The progress as last written: to write the position without a record.
    pub(crate) fn progress(&self) -> Progress {
        Progress {
            next: self.position.offset,
            last: self.position.last,
        }
    }

    /// Moves the position to `next`: all records before it are applied.
    pub(crate) fn moved(&mut self, Progress { next, last }: Progress) {
        let position = &mut self.position;
        position.offset = next;
        position.last = last;
        position.warm_until = position.warm_until.filter(|until| next < *until);
        position.ahead = position.ahead.filter(|ahead| next < ahead.until);
    }

    /// Notes that the records before `until` are applied for users with a share below `done`. `last` is the fingerprint
    /// of the last of them.
    pub(crate) fn partly_moved(&mut self, progress: Progress, done: u32) {
        let Progress { next: until, last } = progress;
        let last = last.filter(|_| until > self.position.offset);
        let ahead = last.map(|last| Ahead { until, done, last });
        self.position.ahead = ahead.or(self.position.ahead);
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

    /// The sweep, once it may run: after the warm-up, and after the first record behind a gap was taken.
    pub(crate) fn sweep(&self) -> Option<Sweep> {
        (!self.is_warming() && !self.gap).then_some(self.sweep)
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

    #[test]
    fn the_last_record_that_some_users_have_seen_tells_whose_log_it_is() {
        let ahead = || {
            let mut own = partition(None);
            own.partly_moved(progress(15, 8), 7);
            own
        };
        assert_eq!(ahead().turn(13, || 9), Turn::Next);
        assert_eq!(ahead().turn(14, || 8), Turn::Next);
        assert_eq!(ahead().turn(14, || 9), Turn::OtherLog);
        assert_eq!(ahead().turn(15, || 9), Turn::Next);
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
    fn who_is_ahead_stays_so_until_the_others_are_there() {
        let mut own = partition(None);
        own.partly_moved(progress(15, 8), 7);
        own.moved(progress(14, 0));
        let (until, done, last) = (15, 7, 8);
        assert_eq!(own.position().ahead, Some(Ahead { until, done, last }));
        own.moved(progress(15, 0));
        assert_eq!(own.position().ahead, None);
        own.partly_moved(progress(15, 8), 7);
        assert_eq!(own.position().ahead, None, "no record to be ahead by");
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
