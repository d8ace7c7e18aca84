//! The users that a worker holds in memory, bounded in bytes; it evicts those not used recently first.

use super::unsaved::{Stamp, Unsaved};
use super::{Erasures, User};
use crate::batch::Progress;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// A worker's knowledge of a user.
#[derive(Debug)]
pub enum UserLookup {
    /// The user has not been read from the store yet.
    NotLoaded,
    /// The store has no state, only these erasures.
    Missing(Erasures),
    /// The state, as stored or newer.
    Loaded(Box<User>),
}

/// A user in the cache, with its state as far as known.
#[derive(Debug)]
pub struct Slot {
    id: Box<str>,
    user: UserLookup,
    /// Its place in the batch that is being gathered or applied; such a slot is never evicted.
    place: Option<u32>,
    used: bool,
    bytes: usize,
    /// Names the first change that is not stored.
    unsaved: Option<Stamp>,
}

impl Slot {
    /// The user's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The knowledge of the user.
    pub fn user(&self) -> &UserLookup {
        &self.user
    }

    /// Id and state, the latter mutable.
    pub fn parts(&mut self) -> (&str, &mut UserLookup) {
        (&self.id, &mut self.user)
    }

    /// Replaces the knowledge of the user.
    pub fn set(&mut self, user: UserLookup) {
        self.user = user;
    }

    /// The user's place in the batch.
    pub fn place(&self) -> Option<u32> {
        self.place
    }

    /// Sets the user's place in the batch; the slot is not evicted until [`Users::release`].
    pub fn put(&mut self, place: u32) {
        self.place = Some(place);
    }
}

/// The users that a worker holds in memory. An index is valid while its user is in the batch.
pub struct Users {
    hasher: DefaultHashBuilder,
    table: HashTable<u32>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    hand: usize,
    bytes: usize,
    limit: usize,
    unsaved: Unsaved,
}

/// Bytes of a slot without its id and window: the slot, the user, the table's entry, and the allocator's overhead.
const SLOT: usize = size_of::<Option<Slot>>() + size_of::<User>() + 3 * 16 + 8;

impl Users {
    /// An empty cache of at most `limit` bytes; users of the batch under way may exceed it, and those that are yet to be
    /// stored.
    pub fn new(limit: usize) -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
            limit,
            unsaved: Unsaved::default(),
        }
    }

    /// The index of a user's slot, made if there is none.
    pub fn find(&mut self, id: &str) -> u32 {
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
            user: UserLookup::NotLoaded,
            place: None,
            used: false,
            bytes,
            unsaved: None,
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

    /// The slot at an index that [`Users::find`] gave.
    ///
    /// # Panics
    ///
    /// If the slot is not part of the batch and was evicted.
    pub fn slot(&mut self, index: u32) -> &mut Slot {
        let slot = self.slots[index as usize].as_mut();
        slot.expect("a touched slot stays")
    }

    /// Takes a slot out of the batch, and counts the bytes of its changed window.
    pub fn release(&mut self, index: u32) {
        let Some(slot) = self.slots[index as usize].as_mut() else {
            return;
        };
        let window = match &slot.user {
            UserLookup::Loaded(user) => user.heap_bytes(),
            _ => 0,
        };
        let bytes = SLOT + slot.id.len() + window;
        self.bytes = self.bytes - slot.bytes + bytes;
        slot.bytes = bytes;
        slot.place = None;
    }

    /// The next user to evict while the limit is exceeded: those used since the last pass get a second chance. The caller
    /// stores its window if it [is unsaved](Self::is_unsaved), and then [evicts](Self::leave) it.
    pub fn leaving(&mut self) -> Option<u32> {
        // Two passes: the first may only clear the marks of use.
        let mut steps = 2 * self.slots.len();
        while self.bytes > self.limit && steps > 0 {
            steps -= 1;
            self.hand = (self.hand + 1) % self.slots.len();
            match &mut self.slots[self.hand] {
                Some(slot) if slot.used && slot.place.is_none() => slot.used = false,
                Some(slot) if slot.place.is_none() => return Some(self.hand as u32),
                _ => {}
            }
        }
        None
    }

    /// Evicts a user that [`Users::leaving`] gave.
    pub fn leave(&mut self, index: u32) {
        self.remove(index);
    }

    /// Notes where the partitions are before a batch is applied: the changes that follow are read again from there if
    /// they are lost. `now` is in epoch milliseconds.
    pub(crate) fn begin(&mut self, now: i64, begins: impl Iterator<Item = (i32, Progress)>) {
        self.unsaved.begin(now, begins);
    }

    /// Notes that a user is newer than its stored window.
    pub(crate) fn changed(&mut self, index: u32) {
        if let Some(slot) = self.slots[index as usize].as_mut()
            && slot.unsaved.is_none()
        {
            slot.unsaved = self.unsaved.add(index);
        }
    }

    /// Notes that the transaction under way stores a user's window, or deletes it.
    pub(crate) fn saved(&mut self, index: u32) {
        if let Some(slot) = self.slots[index as usize].as_mut()
            && let Some(stamp) = slot.unsaved.take()
        {
            self.unsaved.remove(stamp);
        }
    }

    /// True if a user is newer than its stored window.
    pub(crate) fn is_unsaved(&self, index: u32) -> bool {
        let slot = self.slots[index as usize].as_ref();
        slot.is_some_and(|slot| slot.unsaved.is_some())
    }

    /// A user that is newer than its stored window since a time before `before` (epoch ms), the oldest first. It is
    /// given once: the caller stores its window.
    pub(crate) fn next_unsaved(&mut self, before: i64) -> Option<u32> {
        while let Some((index, stamp)) = self.unsaved.pop(before) {
            let slot = self.slots[index as usize].as_ref();
            if slot.is_some_and(|slot| slot.unsaved == Some(stamp)) {
                return Some(index);
            }
        }
        None
    }

    /// Where reading of a partition has to begin again if what is in memory is lost; `None` if everything is stored.
    pub(crate) fn low(&self, partition: i32) -> Option<Progress> {
        self.unsaved.low(partition)
    }

    /// The number of users that are newer than their stored window.
    pub(crate) fn unsaved(&self) -> usize {
        self.unsaved.len()
    }

    /// Evicts the users of these partitions, and those without a state. The partitions are read from elsewhere.
    pub fn evict(&mut self, partitions: &[i32]) {
        self.unsaved.forget(partitions);
        for index in 0..self.slots.len() {
            let gone = match self.slots[index].as_ref().map(Slot::user) {
                Some(UserLookup::Loaded(user)) => partitions.contains(&user.home().partition),
                Some(_) => true,
                None => false,
            };
            if gone {
                self.remove(index as u32);
            }
        }
    }

    /// Evicts everybody.
    pub fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    /// The number of users and their bytes.
    pub fn size(&self) -> (usize, usize) {
        (self.table.len(), self.bytes)
    }

    fn remove(&mut self, index: u32) {
        let Some(slot) = self.slots[index as usize].take() else {
            return;
        };
        self.bytes -= slot.bytes;
        if let Some(stamp) = slot.unsaved {
            self.unsaved.remove(stamp);
        }
        let hash = self.hasher.hash_one(&*slot.id);
        if let Ok(entry) = self.table.find_entry(hash, |own| *own == index) {
            entry.remove();
        }
        self.free.push(index);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Home;
    use super::*;

    fn put(users: &mut Users, id: &str, partition: i32) -> u32 {
        let index = users.find(id);
        let home = Home {
            partition,
            epoch: 0,
        };
        let user = User::new(home, Erasures::default());
        users.slot(index).set(UserLookup::Loaded(Box::new(user)));
        users.release(index);
        index
    }

    fn known(users: &mut Users, id: &str) -> bool {
        let index = users.find(id);
        matches!(users.slot(index).user(), UserLookup::Loaded(_))
    }

    #[test]
    fn the_limit_is_kept_and_the_used_and_touched_stay() {
        let mut users = Users::new(100 * (SLOT + 10));
        for number in 0..1000 {
            let index = put(&mut users, &format!("u{number}"), 0);
            users.slot(index).place = (number == 3).then_some(0);
            if number >= 7 {
                users.find("u7");
            }
            while let Some(index) = users.leaving() {
                users.leave(index);
            }
            assert!(users.bytes <= users.limit);
        }
        assert!(known(&mut users, "u3") && known(&mut users, "u7"));
        assert!(!known(&mut users, "u20"));
        let counted: usize = users.slots.iter().flatten().map(|slot| slot.bytes).sum();
        assert_eq!(counted, users.bytes);
    }

    #[test]
    fn changes_are_given_once_and_hold_the_partition_until_they_are_stored() {
        let mut users = Users::new(usize::MAX);
        let (one, other) = (put(&mut users, "a", 0), put(&mut users, "b", 0));
        let at = |next| Progress { next, last: None };
        let low = |users: &Users| users.low(0).map(|at| at.next);
        users.begin(1_000, [(0, at(5))].into_iter());
        users.changed(one);
        users.begin(2_000, [(0, at(9))].into_iter());
        users.changed(one);
        users.changed(other);
        assert_eq!((low(&users), users.unsaved()), (Some(5), 2));
        assert_eq!(users.next_unsaved(1_500), Some(one));
        users.saved(one);
        assert_eq!(low(&users), Some(9));
        assert_eq!(users.next_unsaved(1_500), None);
        users.evict(&[0]);
        let again = put(&mut users, "c", 0);
        assert!(
            again == one || again == other,
            "a slot that was used before"
        );
        assert_eq!(users.next_unsaved(i64::MAX), None);
        assert_eq!((low(&users), users.unsaved()), (None, 0));
    }

    #[test]
    fn a_partitions_users_are_forgotten_and_their_slots_used_again() {
        let mut users = Users::new(usize::MAX);
        for number in 0..10 {
            put(&mut users, &format!("u{number}"), number % 2);
        }
        users.evict(&[1]);
        assert_eq!(users.size().0, 5);
        assert!(known(&mut users, "u4") && !known(&mut users, "u5"));
        for number in 10..14 {
            put(&mut users, &format!("u{number}"), 0);
        }
        assert_eq!(users.slots.len(), 10);
        users.clear();
        assert_eq!(users.size(), (0, 0));
    }
}
