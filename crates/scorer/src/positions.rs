//! Where a worker stands in each of its partitions. Pure.

/// The next offset to read in each assigned partition.
#[derive(Debug, Default)]
pub struct Positions {
    /// By partition number; `None` where it is not assigned.
    next: Vec<Option<i64>>,
    /// Partitions advanced since the last commit.
    touched: Vec<i32>,
}

impl Positions {
    /// Takes note of where an assigned partition goes on.
    pub fn set(&mut self, partition: i32, position: i64) {
        let index = partition as usize;
        if self.next.len() <= index {
            self.next.resize(index + 1, None);
        }
        self.next[index] = Some(position);
    }

    /// Forgets a partition that is no longer assigned; whether there was anything to forget.
    pub fn remove(&mut self, partition: i32) -> bool {
        self.touched.retain(|other| *other != partition);
        let position = self.next.get_mut(partition as usize);
        position.is_some_and(|position| position.take().is_some())
    }

    /// Moves past a record. False for a record that must be skipped: its partition is not assigned,
    /// or it lies before the position, left over from before a seek.
    pub fn advance(&mut self, partition: i32, offset: i64) -> bool {
        let Some(Some(position)) = self.next.get_mut(partition as usize) else {
            return false;
        };
        if offset < *position {
            return false;
        }
        *position = offset + 1;
        if self.touched.last() != Some(&partition) && !self.touched.contains(&partition) {
            self.touched.push(partition);
        }
        true
    }

    /// Where an assigned partition goes on.
    pub fn get(&self, partition: i32) -> Option<i64> {
        self.next.get(partition as usize).copied().flatten()
    }

    /// The assigned partitions with their positions.
    pub fn all(&self) -> Vec<(i32, i64)> {
        let numbered = (0..).zip(&self.next);
        numbered
            .filter_map(|(partition, next)| Some((partition, (*next)?)))
            .collect()
    }

    /// The partitions that records were taken from since the last commit, with their positions.
    pub fn touched(&self) -> Vec<(i32, i64)> {
        let position = |partition: &i32| Some((*partition, self.next[*partition as usize]?));
        self.touched.iter().filter_map(position).collect()
    }

    /// What was touched is committed.
    pub fn committed(&mut self) {
        self.touched.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_follow_the_records_of_assigned_partitions() {
        let mut positions = Positions::default();
        positions.set(2, 10);
        assert!(positions.advance(2, 10));
        assert!(positions.advance(2, 14), "offsets may leave gaps");
        assert!(!positions.advance(2, 14), "a record is taken once");
        assert!(
            !positions.advance(0, 1) && !positions.advance(7, 1),
            "not assigned"
        );
        positions.set(0, 5);
        assert_eq!(positions.all(), [(0, 5), (2, 15)]);
        assert_eq!(positions.touched(), [(2, 15)]);
        positions.committed();
        assert_eq!(positions.touched(), []);
        positions.set(2, 11);
        assert!(positions.advance(2, 12), "read again after going back");
        assert!(positions.remove(2) && !positions.remove(2) && !positions.remove(9));
        assert_eq!(
            (positions.all(), positions.touched()),
            (vec![(0, 5)], vec![])
        );
    }
}
