//! Where a worker stands in each of its partitions. Pure.

use tidemill_core::kafka::StoredPosition;

/// The next offset to read in each assigned partition.
#[derive(Debug, Default)]
pub struct Positions {
    /// By partition number; `None` where it is not assigned.
    partitions: Vec<Option<Partition>>,
    /// Partitions advanced since the last commit.
    touched: Vec<i32>,
}

#[derive(Clone, Copy, Debug)]
struct Partition {
    position: StoredPosition<u64>,
    /// The record before the position has not been seen yet: it must have the fingerprint that is stored.
    unchecked: bool,
}

/// What is to be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is the next one.
    Take,
    /// Its partition is not assigned, or it lies before the position.
    Skip,
    /// It lies before the position, and is another one than was taken there: the log is not the one that was read.
    OtherRecord,
}

impl Positions {
    /// Takes note of where an assigned partition goes on.
    pub fn set(&mut self, partition: i32, position: StoredPosition<u64>) {
        let index = partition as usize;
        if self.partitions.len() <= index {
            self.partitions.resize(index + 1, None);
        }
        self.partitions[index] = Some(Partition {
            position,
            unchecked: position.last.is_some(),
        });
    }

    /// Forgets a partition that is no longer assigned; whether there was anything to forget.
    pub fn remove(&mut self, partition: i32) -> bool {
        self.touched.retain(|other| *other != partition);
        let found = self.partitions.get_mut(partition as usize);
        found.is_some_and(|found| found.take().is_some())
    }

    /// Decides about a record; its fingerprint is asked for only where it matters.
    pub fn turn(&mut self, partition: i32, offset: i64, fingerprint: impl FnOnce() -> u64) -> Turn {
        let Some(own) = self.get_mut(partition) else {
            return Turn::Skip;
        };
        let StoredPosition { next, last, .. } = own.position;
        let unchecked = std::mem::take(&mut own.unchecked);
        if offset >= next {
            return Turn::Take;
        }
        if offset + 1 < next {
            own.unchecked = unchecked;
        } else if unchecked && last.is_some_and(|last| last != fingerprint()) {
            return Turn::OtherRecord;
        }
        Turn::Skip
    }

    /// Moves past a record that was taken.
    pub fn advance(&mut self, partition: i32, offset: i64, fingerprint: u64) {
        let Some(own) = self.get_mut(partition) else {
            return;
        };
        own.position.next = offset + 1;
        own.position.last = Some(fingerprint);
        if self.touched.last() != Some(&partition) && !self.touched.contains(&partition) {
            self.touched.push(partition);
        }
    }

    fn get_mut(&mut self, partition: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(partition as usize)?.as_mut()
    }

    /// Where an assigned partition goes on.
    pub fn get(&self, partition: i32) -> Option<i64> {
        let own = self.partitions.get(partition as usize)?.as_ref()?;
        Some(own.position.next)
    }

    /// The assigned partitions.
    pub fn assigned(&self) -> Vec<i32> {
        let numbered = (0..).zip(&self.partitions);
        let assigned = numbered.filter(|(_, own)| own.is_some());
        assigned.map(|(partition, _)| partition).collect()
    }

    /// The partitions that records were taken from since the last commit, with their positions.
    pub fn touched(&self) -> Vec<(i32, StoredPosition<u64>)> {
        let touched = self.touched.iter();
        let position = |partition: &i32| {
            let own = self.partitions[*partition as usize]?;
            Some((*partition, own.position))
        };
        touched.filter_map(position).collect()
    }

    /// What was touched is handed over to be committed.
    pub fn committed(&mut self) {
        self.touched.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Turn::{OtherRecord, Skip, Take};

    /// Takes a record whose fingerprint is its offset.
    fn take(positions: &mut Positions, partition: i32, offset: i64) -> Turn {
        let turn = positions.turn(partition, offset, || offset as u64);
        if turn == Take {
            positions.advance(partition, offset, offset as u64);
        }
        turn
    }

    fn touched(positions: &Positions) -> Vec<(i32, i64, Option<u64>)> {
        let touched = positions.touched().into_iter();
        touched.map(|(id, own)| (id, own.next, own.last)).collect()
    }

    #[test]
    fn positions_follow_the_records_of_assigned_partitions() {
        let mut positions = Positions::default();
        positions.set(2, 10.into());
        assert_eq!(take(&mut positions, 2, 10), Take);
        assert_eq!(take(&mut positions, 2, 14), Take, "offsets may leave gaps");
        assert_eq!(take(&mut positions, 2, 14), Skip, "a record is taken once");
        assert_eq!(take(&mut positions, 0, 1), Skip, "not assigned");
        assert_eq!(take(&mut positions, 7, 1), Skip, "not assigned");
        positions.set(0, 5.into());
        assert_eq!(positions.assigned(), [0, 2]);
        assert_eq!(touched(&positions), [(2, 15, Some(14))]);
        positions.committed();
        assert_eq!(touched(&positions), []);
        positions.set(2, 11.into());
        assert_eq!(take(&mut positions, 2, 12), Take, "read again");
        assert!(positions.remove(2) && !positions.remove(2) && !positions.remove(9));
        assert_eq!(
            (positions.assigned(), touched(&positions)),
            (vec![0], vec![])
        );
        assert_eq!((positions.get(0), positions.get(2)), (Some(5), None));
    }

    #[test]
    fn the_record_before_a_position_tells_the_log() {
        let stored = |last| StoredPosition { last, ..10.into() };
        let mut positions = Positions::default();
        positions.set(0, stored(Some(9)));
        for offset in 8..=9 {
            assert_eq!(take(&mut positions, 0, offset), Skip);
        }
        assert_eq!(take(&mut positions, 0, 10), Take);
        positions.set(0, stored(Some(1)));
        assert_eq!(take(&mut positions, 0, 8), Skip);
        assert_eq!(take(&mut positions, 0, 9), OtherRecord);
        // Compaction has removed it, or nothing is known of it.
        positions.set(0, stored(Some(1)));
        assert_eq!(take(&mut positions, 0, 11), Take);
        positions.set(0, stored(None));
        assert_eq!(take(&mut positions, 0, 9), Skip);
        // One that was taken since is no evidence.
        positions.set(0, stored(Some(9)));
        assert_eq!(take(&mut positions, 0, 10), Take);
        assert_eq!(positions.turn(0, 10, || 77), Skip);
    }
}
