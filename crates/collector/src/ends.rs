//! How far a bounded run is in each of its ranges: what is read, and what is read to its end.

use crate::stretch::Range;

/// The ranges of one worker of a bounded run.
#[derive(Debug)]
pub(crate) struct Ends {
    ranges: Vec<Range>,
    /// By partition number.
    ends: Vec<Option<End>>,
}

/// The end of a partition's range.
#[derive(Clone, Copy, Debug)]
struct End {
    at: i64,
    /// All before it was handed out, and nothing has to be read again.
    reached: bool,
}

impl Ends {
    /// Nothing of these ranges is read yet.
    pub(crate) fn of(ranges: Vec<Range>) -> Self {
        let mut ends = Vec::new();
        for range in &ranges {
            let place = range.partition as usize;
            ends.resize(ends.len().max(place + 1), None);
            ends[place] = Some(End {
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

    /// The record at this offset lies in the partition's range.
    pub(crate) fn holds(&self, partition: i32, offset: i64) -> bool {
        self.end(partition).is_some_and(|end| offset < end.at)
    }

    /// A partition was read up to `position`, or to the end of its log; true when its range ends with that.
    pub(crate) fn read_to(&mut self, partition: i32, position: Option<i64>) -> bool {
        let end = self.ends.get_mut(partition as usize);
        let Some(end) = end.and_then(Option::as_mut) else {
            return false;
        };
        let ends = !end.reached && position.is_none_or(|position| position >= end.at);
        end.reached |= ends;
        ends
    }

    /// A peer's file ends at `next`, wherever reading is: true when the range goes on there, and has to be read again
    /// from there.
    pub(crate) fn go_back(&mut self, partition: i32, next: i64) -> bool {
        let end = self.ends.get_mut(partition as usize);
        let Some(end) = end.and_then(Option::as_mut) else {
            return false;
        };
        end.reached = next >= end.at;
        !end.reached
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> Ends {
        let ranges = [(0, 100), (3, 200)].map(|(partition, end)| Range {
            partition,
            first: 0,
            end,
            gap: None,
        });
        Ends::of(ranges.into())
    }

    #[test]
    fn a_range_ends_once_at_its_end_or_at_that_of_the_log() {
        let mut ends = ends();
        assert!(ends.holds(3, 199) && !ends.holds(3, 200) && !ends.holds(1, 0));
        assert!(!ends.read_to(3, Some(199)));
        assert!(ends.read_to(3, Some(200)) && !ends.read_to(3, Some(201)));
        assert!(!ends.is_reading(3) && ends.is_reading(0) && !ends.all_reached());
        assert!(ends.read_to(0, None) && !ends.read_to(1, None));
        assert!(ends.all_reached());
    }

    #[test]
    fn a_range_that_was_read_to_its_end_is_read_again_behind_a_peers_shorter_file() {
        let mut ends = ends();
        for partition in [0, 3] {
            ends.read_to(partition, None);
        }
        assert!(ends.go_back(3, 100));
        assert!(ends.is_reading(3) && !ends.all_reached());
        assert!(ends.read_to(3, Some(200)), "and its last file is cut again");
        for next in [200, 250] {
            assert!(!ends.go_back(3, next) && ends.all_reached());
        }
        assert!(!ends.go_back(1, 5));
    }
}
