//! Users whose state in memory is newer than their stored window, and the offsets from which their records would have
//! to be read again.

use crate::batch::Progress;
use std::collections::{BTreeMap, VecDeque};

/// Time (ms) over which changes share a stretch.
const STRETCH_MS: i64 = 100;

/// The changes of a short time.
#[derive(Debug)]
struct Stretch {
    /// Its beginning (epoch ms).
    begun: i64,
    /// Where each partition was then.
    begins: BTreeMap<i32, Progress>,
    /// Slots of users that became newer than their stored window; some may be stored again.
    slots: Vec<u32>,
    /// The number of users that are not.
    left: usize,
}

/// The name of a stretch.
pub(super) type Stamp = u64;

/// The users with unsaved changes, in stretches, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    stretches: VecDeque<Stretch>,
    /// The stamp of the first stretch.
    first: Stamp,
}

impl Unsaved {
    /// Begins a stretch where the partitions are now, unless the last one has just begun.
    pub(super) fn begin(&mut self, now: i64, begins: impl Iterator<Item = (i32, Progress)>) {
        self.tidy();
        let age = self.stretches.back().map(|last| now - last.begun);
        if !age.is_some_and(|age| (0..STRETCH_MS).contains(&age)) {
            self.stretches.push_back(Stretch {
                begun: now,
                begins: BTreeMap::new(),
                slots: Vec::new(),
                left: 0,
            });
        }
        if let Some(last) = self.stretches.back_mut() {
            for (partition, begin) in begins {
                last.begins.entry(partition).or_insert(begin);
            }
        }
    }

    /// Adds a user to the stretch under way, and returns its stamp.
    pub(super) fn add(&mut self, slot: u32) -> Option<Stamp> {
        let last = self.stretches.back_mut()?;
        last.slots.push(slot);
        last.left += 1;
        Some(self.first + self.stretches.len() as Stamp - 1)
    }

    /// Notes that a user of a stretch is stored, or gone.
    pub(super) fn remove(&mut self, stamp: Stamp) {
        let index = stamp.checked_sub(self.first);
        if let Some(stretch) = index.and_then(|index| self.stretches.get_mut(index as usize)) {
            stretch.left = stretch.left.saturating_sub(1);
        }
    }

    /// The next slot of the oldest stretch, with its stamp, if the stretch began before `before` (epoch ms). The slot
    /// may have been stored since.
    pub(super) fn pop(&mut self, before: i64) -> Option<(u32, Stamp)> {
        for (stretch, stamp) in self.stretches.iter_mut().zip(self.first..) {
            if stretch.begun >= before {
                return None;
            }
            if let Some(slot) = stretch.slots.pop() {
                return Some((slot, stamp));
            }
        }
        None
    }

    /// Where reading of a partition would have to begin again; `None` if every change is stored.
    pub(super) fn low(&self, partition: i32) -> Option<Progress> {
        let mut left = self.stretches.iter().filter(|stretch| stretch.left > 0);
        left.find_map(|stretch| stretch.begins.get(&partition).copied())
    }

    /// Forgets where partitions were: they are read from elsewhere.
    pub(super) fn forget(&mut self, partitions: &[i32]) {
        for stretch in &mut self.stretches {
            stretch.begins.retain(|id, _| !partitions.contains(id));
        }
    }

    /// The number of users.
    pub(super) fn len(&self) -> usize {
        self.stretches.iter().map(|stretch| stretch.left).sum()
    }

    fn tidy(&mut self) {
        while self.stretches.front().is_some_and(|first| first.left == 0) {
            self.stretches.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(next: i64) -> Progress {
        Progress { next, last: None }
    }

    #[test]
    fn a_partition_is_read_again_from_its_oldest_change() {
        let mut unsaved = Unsaved::default();
        assert_eq!(unsaved.low(0), None);
        unsaved.begin(1_000, [(0, at(5)), (1, at(7))].into_iter());
        let one = unsaved.add(3).unwrap();
        unsaved.begin(1_050, [(0, at(9)), (2, at(1))].into_iter());
        let same = unsaved.add(4).unwrap();
        assert_eq!(one, same, "within the same time");
        unsaved.begin(1_100, [(0, at(20)), (1, at(8))].into_iter());
        let other = unsaved.add(5).unwrap();
        let low = |unsaved: &Unsaved| [0, 1, 2].map(|id| unsaved.low(id).map(|at| at.next));
        assert_eq!(low(&unsaved), [Some(5), Some(7), Some(1)]);
        unsaved.remove(one);
        assert_eq!(low(&unsaved), [Some(5), Some(7), Some(1)]);
        unsaved.remove(same);
        assert_eq!(low(&unsaved), [Some(20), Some(8), None]);
        unsaved.begin(2_000, std::iter::empty());
        unsaved.forget(&[0]);
        assert_eq!(low(&unsaved), [None, Some(8), None]);
        unsaved.remove(other);
        assert_eq!((low(&unsaved), unsaved.len()), ([None; 3], 0));
    }

    #[test]
    fn the_oldest_are_stored_first() {
        let mut unsaved = Unsaved::default();
        for (now, slot) in [(1_000, 1), (1_000, 2), (2_000, 3)] {
            unsaved.begin(now, std::iter::empty());
            unsaved.add(slot);
        }
        assert_eq!(unsaved.pop(1_000), None);
        let pop = |unsaved: &mut Unsaved, before| unsaved.pop(before).map(|(slot, _)| slot);
        assert_eq!(pop(&mut unsaved, 1_500), Some(2));
        assert_eq!(pop(&mut unsaved, 1_500), Some(1));
        assert_eq!(pop(&mut unsaved, 1_500), None);
        assert_eq!(pop(&mut unsaved, i64::MAX), Some(3));
        assert_eq!(pop(&mut unsaved, i64::MAX), None);
    }
}
