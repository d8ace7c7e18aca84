//! The users that a worker holds in memory, bounded in bytes; those not used again of late go first.

use crate::user::User;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// What is known of a user.
#[derive(Debug)]
pub(crate) enum Known {
    /// Not read from the store yet.
    Nothing,
    /// The store has nothing.
    Absent,
    /// The state.
    User(Box<User>),
}

/// One user's place.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The user's id.
    pub(crate) id: Box<str>,
    /// What is known.
    pub(crate) known: Known,
    /// Its place in the batch that is being gathered or applied; such a slot stays.
    pub(crate) touched: Option<u32>,
    used: bool,
    bytes: usize,
}

/// See the file's first sentence. Slots are named by their index, which stays while the slot is touched.
pub(crate) struct Cache {
    hasher: DefaultHashBuilder,
    table: HashTable<u32>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    hand: usize,
    bytes: usize,
    limit: usize,
}

/// Bytes of a slot beside its id and window: itself, the user, the table's entry, and what the allocator adds.
const SLOT: usize = size_of::<Option<Slot>>() + size_of::<User>() + 3 * 16 + 8;

impl Cache {
    /// An empty cache of at most `limit` bytes (and, in any case, what the batch under way touches).
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
            limit,
        }
    }

    /// The slot of a user, made where there is none.
    pub(crate) fn find(&mut self, id: &str) -> u32 {
        let hash = self.hasher.hash_one(id);
        let own = |index: &u32| {
            self.slots[*index as usize]
                .as_ref()
                .is_some_and(|slot| *slot.id == *id)
        };
        if let Some(index) = self.table.find(hash, own).copied() {
            self.slot(index).used = true;
            return index;
        }
        let bytes = SLOT + id.len();
        let slot = Slot {
            id: id.into(),
            known: Known::Nothing,
            touched: None,
            used: false,
            bytes,
        };
        self.bytes += bytes;
        let index = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(index as usize) {
            Some(place) => *place = Some(slot),
            None => self.slots.push(Some(slot)),
        }
        let (hasher, slots) = (&self.hasher, &self.slots);
        self.table.insert_unique(hash, index, |index| {
            slots[*index as usize]
                .as_ref()
                .map_or(0, |slot| hasher.hash_one(&*slot.id))
        });
        index
    }

    /// The slot at an index that [`Cache::find`] gave.
    ///
    /// # Panics
    ///
    /// When the slot was not touched and is gone.
    pub(crate) fn slot(&mut self, index: u32) -> &mut Slot {
        let slot = self.slots[index as usize].as_mut();
        slot.expect("a touched slot stays")
    }

    /// Counts the slot's bytes anew, after its window has changed; the batch is done with it.
    pub(crate) fn settle(&mut self, index: u32) {
        let Some(slot) = self.slots[index as usize].as_mut() else {
            return;
        };
        let window = match &slot.known {
            Known::User(user) => user.window.heap_bytes(),
            _ => 0,
        };
        let bytes = SLOT + slot.id.len() + window;
        self.bytes = self.bytes - slot.bytes + bytes;
        slot.bytes = bytes;
        slot.touched = None;
    }

    /// Lets users go until the limit is kept.
    pub(crate) fn shrink(&mut self) {
        // Twice around: the first time may only find out which are not used.
        let mut steps = 2 * self.slots.len();
        while self.bytes > self.limit && steps > 0 {
            steps -= 1;
            self.hand = (self.hand + 1) % self.slots.len();
            match &mut self.slots[self.hand] {
                Some(slot) if slot.used && slot.touched.is_none() => slot.used = false,
                Some(slot) if slot.touched.is_none() => self.remove(self.hand as u32),
                _ => {}
            }
        }
    }

    /// Forgets the users of these partitions, and those of whom nothing is known.
    pub(crate) fn forget(&mut self, partitions: &[i32]) {
        for index in 0..self.slots.len() {
            let gone = match self.slots[index].as_ref().map(|slot| &slot.known) {
                Some(Known::User(user)) => partitions.contains(&user.partition),
                Some(_) => true,
                None => false,
            };
            if gone {
                self.remove(index as u32);
            }
        }
    }

    /// Forgets everybody.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    /// (users, bytes)
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.table.len(), self.bytes)
    }

    fn remove(&mut self, index: u32) {
        let Some(slot) = self.slots[index as usize].take() else {
            return;
        };
        self.bytes -= slot.bytes;
        let hash = self.hasher.hash_one(&*slot.id);
        if let Ok(entry) = self.table.find_entry(hash, |own| *own == index) {
            entry.remove();
        }
        self.free.push(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(cache: &mut Cache, id: &str, partition: i32) -> u32 {
        let index = cache.find(id);
        cache.slot(index).known = Known::User(Box::new(User::new(partition, 0)));
        cache.settle(index);
        index
    }

    fn known(cache: &mut Cache, id: &str) -> bool {
        let index = cache.find(id);
        matches!(cache.slot(index).known, Known::User(_))
    }

    #[test]
    fn the_limit_is_kept_and_the_used_and_touched_stay() {
        let mut cache = Cache::new(100 * (SLOT + 10));
        for number in 0..1000 {
            let index = put(&mut cache, &format!("u{number}"), 0);
            cache.slot(index).touched = (number == 3).then_some(0);
            if number >= 7 {
                cache.find("u7");
            }
            cache.shrink();
            assert!(cache.bytes <= cache.limit);
        }
        assert!(known(&mut cache, "u3") && known(&mut cache, "u7"));
        assert!(!known(&mut cache, "u20"));
        let counted: usize = cache.slots.iter().flatten().map(|slot| slot.bytes).sum();
        assert_eq!(counted, cache.bytes);
    }

    #[test]
    fn a_partitions_users_are_forgotten_and_their_slots_used_again() {
        let mut cache = Cache::new(usize::MAX);
        for number in 0..10 {
            put(&mut cache, &format!("u{number}"), number % 2);
        }
        cache.forget(&[1]);
        assert_eq!(cache.size().0, 5);
        assert!(known(&mut cache, "u4") && !known(&mut cache, "u5"));
        for number in 10..14 {
            put(&mut cache, &format!("u{number}"), 0);
        }
        assert_eq!(cache.slots.len(), 10);
        cache.clear();
        assert_eq!(cache.size(), (0, 0));
    }
}
