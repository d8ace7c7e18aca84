//! One partition in the hands of a worker.

use crate::position::{Ahead, Position};

/// What a worker knows of a partition it has claimed.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    /// The position as it was written last.
    pub(crate) position: Position,
    /// The next offset to be gathered.
    pub(crate) next: i64,
    /// The fingerprint that the record before the position must have; looked at once.
    pub(crate) check: Option<u64>,
    /// Records were deleted before they could be applied; the next one says until when.
    pub(crate) gap: bool,
    /// The windows were built anew, and some users' hashes still have to follow.
    pub(crate) settling: bool,
    /// Where the warm-up began, for its progress.
    pub(crate) warm_from: i64,
    /// Where it stood when it was looked at last, and how often it stood there.
    pub(crate) stood: (i64, u32),
}

/// How many looks, a second apart, a warm-up may stand still before its end is taken to be reached.
const STANDS: u32 = 5;

/// What a record is to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Applied before, or fetched before a seek.
    Past,
    /// To be applied now.
    Next,
    /// The log is not the one that was applied.
    Foreign,
}

impl Partition {
    /// Whether the windows are being built up from the log, without hashes.
    pub(crate) fn warming(&self) -> bool {
        self.position.warm_until.is_some()
    }

    /// Whether readers see all there is to see.
    pub(crate) fn settled(&self) -> bool {
        !self.warming() && !self.settling
    }

    /// Ends a warm-up whose target is no record's offset, as behind a transaction: when nothing has come for some
    /// seconds, the target is reached if the log's end, as its brokers tell it, still is the target.
    pub(crate) fn notice_end(&mut self, log_end: impl FnOnce() -> Option<i64>) {
        let Some(until) = self.position.warm_until else {
            return;
        };
        let (at, times) = self.stood;
        self.stood = if at == self.position.offset {
            (at, times + 1)
        } else {
            (self.position.offset, 0)
        };
        if self.stood.1 >= STANDS && log_end() == Some(until) {
            self.position.warm_until = None;
        }
    }

    /// Decides about a record by its offset; its fingerprint is asked for only where it matters.
    pub(crate) fn turn(&mut self, offset: i64, fingerprint: impl FnOnce() -> u64) -> Turn {
        if offset >= self.next {
            self.check = None;
            return Turn::Next;
        }
        match self.check.take() {
            Some(expected) if offset + 1 == self.position.offset && fingerprint() != expected => {
                Turn::Foreign
            }
            _ => Turn::Past,
        }
    }

    /// The records before `next` are applied.
    pub(crate) fn moved(&mut self, next: i64, last: u64) {
        let position = &mut self.position;
        position.offset = next;
        position.last = Some(last);
        position.warm_until = position.warm_until.filter(|until| next < *until);
        position.ahead = position.ahead.filter(|ahead| next < ahead.until);
    }

    /// The records before `until` are applied of the users whose share is below `done`.
    pub(crate) fn partly_moved(&mut self, until: i64, done: u32) {
        self.position.ahead = Some(Ahead { until, done });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Token;

    fn partition(check: Option<u64>) -> Partition {
        let token = Token {
            instance: 1,
            count: 1,
        };
        let definitions = String::new();
        let (warm_until, complete_from) = (Some(20), None);
        let position = Position {
            offset: 10,
            token,
            epoch: 0,
            definitions,
            last: check,
            warm_until,
            complete_from,
            mixed: false,
            ahead: None,
        };
        Partition {
            position,
            next: 10,
            check,
            gap: false,
            settling: true,
            warm_from: 0,
            stood: (0, 0),
        }
    }

    #[test]
    fn the_record_before_the_position_tells_whose_log_it_is() {
        assert_eq!(partition(Some(7)).turn(9, || 7), Turn::Past);
        assert_eq!(partition(Some(7)).turn(9, || 8), Turn::Foreign);
        assert_eq!(partition(Some(7)).turn(8, || 8), Turn::Past);
        assert_eq!(partition(Some(7)).turn(10, || 8), Turn::Next);
        assert_eq!(partition(None).turn(9, || 8), Turn::Past);
    }

    #[test]
    fn a_warm_up_ends_where_the_log_ends_without_a_record() {
        let mut partition = partition(None);
        for _ in 0..=STANDS {
            assert!(partition.warming());
            partition.notice_end(|| Some(20));
        }
        assert!(!partition.warming());
    }

    #[test]
    fn a_warm_up_ends_at_its_target() {
        let mut partition = partition(None);
        partition.moved(19, 0);
        assert_eq!(partition.position.warm_until, Some(20));
        partition.moved(20, 0);
        assert_eq!(partition.position.warm_until, None);
    }

    #[test]
    fn who_is_ahead_stays_so_until_the_others_are_there() {
        let mut partition = partition(None);
        partition.partly_moved(15, 7);
        partition.moved(14, 0);
        let (until, done) = (15, 7);
        assert_eq!(partition.position.ahead, Some(Ahead { until, done }));
        partition.moved(15, 0);
        assert_eq!(partition.position.ahead, None);
    }
}
