//! The state of a bounded run in each of its ranges: which offsets it has read, and which ranges to their end.

use crate::bounded::stretch::Range;
use crate::dataset::offset::Offset;

/// The ranges of one worker of a bounded run.
#[derive(Debug)]
pub(crate) struct Ends {
    ranges: Vec<Range>,
    /// By partition number.
    ends: Vec<Option<End>>,
}

/// The point up to which a partition was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Everything before this position.
    Position(Offset),
    /// Everything up to the present end of its log. Its last offsets may be those of transaction markers, which no record
    /// shows.
    LogEnd,
}

/// The end of a partition's range.
#[derive(Clone, Copy, Debug)]
struct End {
    /// The index of its range among the ranges.
    range: usize,
    at: Offset,
    /// All before it was handed out, and nothing has to be read again.
    reached: bool,
}

impl Ends {
    /// Nothing of these ranges is read yet.
    pub(crate) fn of(ranges: Vec<Range>) -> Self {
        let mut ends = Vec::new();
        for (range, number) in ranges.iter().zip(0..) {
            let place = range.partition as usize;
            ends.resize(ends.len().max(place + 1), None);
            ends[place] = Some(End {
                range: number,
                at: range.end,
                reached: false,
            });
        }
        Self { ranges, ends }
    }

    /// The ranges.
    pub(crate) fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// The range of a partition.
    pub(crate) fn range(&self, partition: i32) -> Option<&Range> {
        self.ranges.get(self.end(partition)?.range)
    }

    /// The record at this offset lies in the partition's range.
    pub(crate) fn holds(&self, partition: i32, offset: Offset) -> bool {
        self.end(partition).is_some_and(|end| offset < end.at)
    }

    /// Notes how far a partition was read. True when its range ends with that.
    pub(crate) fn read_to(&mut self, partition: i32, reached: Reached) -> bool {
        let Some(end) = self.end_mut(partition) else {
            return false;
        };
        let is_all = match reached {
            Reached::Position(position) => position >= end.at,
            Reached::LogEnd => true,
        };
        let ends = !end.reached && is_all;
        end.reached |= ends;
        ends
    }

    /// A partition has to be read again from somewhere, even if it was read to its end.
    pub(crate) fn reopen(&mut self, partition: i32) {
        if let Some(end) = self.end_mut(partition) {
            end.reached = false;
        }
    }

    /// The partition's range is not read to its end.
    pub(crate) fn is_reading(&self, partition: i32) -> bool {
        self.end(partition).is_some_and(|end| !end.reached)
    }

    /// All ranges are read to their ends.
    pub(crate) fn all_reached(&self) -> bool {
        self.ends.iter().flatten().all(|end| end.reached)
    }

    fn end(&self, partition: i32) -> Option<End> {
        self.ends.get(partition as usize).copied().flatten()
    }

    fn end_mut(&mut self, partition: i32) -> Option<&mut End> {
        self.ends.get_mut(partition as usize)?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::Reached::{LogEnd, Position};
    use super::*;
    use crate::bounded::stretch::tests::range;

    #[test]
    fn a_range_ends_once_at_its_end_or_at_that_of_the_log() {
        let mut ends = Ends::of(vec![range(0, 100), range(3, 200)]);
        assert!(
            ends.holds(3, 199.into()) && !ends.holds(3, 200.into()) && !ends.holds(1, 0.into())
        );
        assert_eq!(ends.range(3), Some(&range(3, 200)));
        assert_eq!(ends.range(1), None);
        assert!(!ends.read_to(3, Position(199.into())));
        assert!(ends.read_to(3, Position(200.into())) && !ends.read_to(3, Position(201.into())));
        assert!(!ends.is_reading(3) && ends.is_reading(0) && !ends.all_reached());
        assert!(ends.read_to(0, LogEnd) && !ends.read_to(1, LogEnd));
        assert!(ends.all_reached());
    }

    #[test]
    fn a_range_that_was_read_to_its_end_may_have_to_be_read_again() {
        let mut ends = Ends::of(vec![range(0, 100), range(3, 200)]);
        for partition in [0, 3] {
            ends.read_to(partition, LogEnd);
        }
        ends.reopen(3);
        ends.reopen(1);
        assert!(ends.is_reading(3) && !ends.all_reached());
        assert!(!ends.read_to(3, Position(199.into())));
        assert!(
            ends.read_to(3, Position(200.into())),
            "its last file is cut again"
        );
        assert!(ends.all_reached());
    }
}
