//! Changes of the sorted sets that say whose features are due when, packed for each partition.

use super::keys::Keys;
use super::pack::Pack;
use super::step::Step;

/// What becomes of a partition's sorted sets.
#[derive(Default)]
pub(super) struct Expiries {
    /// Scores and members to be set.
    set: Pack,
    /// Members to be removed.
    removed: Pack,
    /// Members to be removed from the users before the last rebuild.
    checked: Pack,
}

impl Expiries {
    /// Appends the commands.
    pub(super) fn pack(&self, keys: &Keys, partition: i32, pack: &mut Pack) {
        let (expiry, stale) = (keys.expiry(partition), keys.stale(partition));
        for (name, key, members, words) in [
            ("ZREM", &expiry, &self.removed, 1),
            ("ZADD", &expiry, &self.set, 2),
            ("ZREM", &stale, &self.checked, 1),
        ] {
            if members.commands > 0 {
                pack.command(2 + words * members.commands);
                pack.word(name);
                pack.word(key);
                pack.bytes.extend_from_slice(&members.bytes);
            }
        }
    }
}

impl Step {
    /// Sets when a user's features have to be looked at again.
    pub fn schedule(&mut self, partition: i32, id: &str, at: i64) {
        let set = &mut self.expiries.entry(partition).or_default().set;
        set.number(at);
        set.word(id);
        set.commands += 1;
    }

    /// The user's features need no more looking at in this partition.
    pub fn unschedule(&mut self, partition: i32, id: &str) {
        let removed = &mut self.expiries.entry(partition).or_default().removed;
        removed.word(id);
        removed.commands += 1;
    }

    /// The user has been looked at after a rebuild.
    pub fn checked(&mut self, partition: i32, id: &str) {
        let checked = &mut self.expiries.entry(partition).or_default().checked;
        checked.word(id);
        checked.commands += 1;
    }
}
