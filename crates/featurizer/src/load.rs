//! Brings the users of a batch into memory.

use crate::apply::{Occasion, Rules};
use crate::cache::Known;
use crate::position::Position;
use crate::store::Lost;
use crate::user::User;
use crate::worker::State;
use std::collections::BTreeMap;
use std::ops::Range;

/// Another program has written or deleted a part of what is stored.
const UNREADABLE: &str = "a stored window cannot be read";

impl State {
    /// Reads what is not known of these users of the batch; false when the step under way was refused meanwhile.
    pub(crate) fn load(
        &mut self,
        users: Range<usize>,
        (occasion, now): (Occasion, i64),
    ) -> Result<bool, Lost> {
        let outlives_ms = self.step.outlives_ms();
        // The others the store has let go, or will before the step arrives.
        let lives = |user: &User| user.expires_at.saturating_add(outlives_ms) > now;
        let mut missing = Vec::new();
        for user in &self.batch.touched[users] {
            match &self.cache.slot(user.slot).known {
                Known::Nothing => missing.push((user.slot, user.partition)),
                Known::User(known) if !lives(known) => missing.push((user.slot, user.partition)),
                _ => {}
            }
        }
        if missing.is_empty() {
            return Ok(true);
        }
        if !self.finish()? {
            return Ok(false);
        }
        let mut ids = Vec::with_capacity(missing.len());
        for (index, _) in &missing {
            ids.push(self.cache.slot(*index).id.clone());
        }
        let ids: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
        let mut elsewhere: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
        let Rules {
            definitions,
            limits,
        } = &self.rules;
        for ((index, partition), bytes) in missing.iter().zip(self.store.load(&ids)?) {
            let slot = self.cache.slot(*index);
            let Some(bytes) = bytes else {
                slot.known = Known::Absent;
                continue;
            };
            let own = |partition: i32| self.partitions.get(&partition);
            let (void, theirs) = match User::origin(&bytes) {
                Some((partition, epoch)) => match own(partition) {
                    Some(own) => (own.position.epoch != epoch, false),
                    None => (false, true),
                },
                None => (false, false),
            };
            // What is void may be of other definitions, and so may what others hold.
            let user = match void {
                true => None,
                false => User::decode(definitions, limits, &bytes),
            };
            let broken = user.is_none() && !void && !theirs;
            if broken && own(*partition).is_some_and(|own| !own.warming()) {
                self.gauges.unreadable(&slot.id);
                self.claims.rebuild(*partition, UNREADABLE);
                return Err(Lost(UNREADABLE.to_owned()));
            }
            slot.known = match user.filter(lives) {
                Some(user) => {
                    if theirs {
                        elsewhere.entry(user.partition).or_default().push(*index);
                    }
                    Known::User(Box::new(user))
                }
                None => Known::Absent,
            };
        }
        self.gauges.loaded(missing.len());
        if !elsewhere.is_empty() {
            self.check_elsewhere(&elsewhere, occasion)?;
        }
        Ok(true)
    }

    /// Users whose state was made in a partition that another worker holds: the state counts where it is of that
    /// partition's present epoch, and then the other worker must notice that the user was taken.
    fn check_elsewhere(
        &mut self,
        elsewhere: &BTreeMap<i32, Vec<u32>>,
        occasion: Occasion,
    ) -> Result<(), Lost> {
        let partitions: Vec<i32> = elsewhere.keys().copied().collect();
        let positions = self.store.look_also(&partitions)?;
        for ((partition, users), position) in elsewhere.iter().zip(positions) {
            let position = position.and_then(|text| text.parse::<Position>().ok());
            let position =
                position.filter(|found| found.definitions == self.rules.definitions.fingerprint());
            for index in users {
                let slot = self.cache.slot(*index);
                let valid = match (&slot.known, &position) {
                    (Known::User(user), Some(position)) => user.epoch == position.epoch,
                    _ => false,
                };
                if !valid {
                    slot.known = Known::Absent;
                } else if occasion == Occasion::Records
                    && let Some(position) = &position
                {
                    self.disturbed.insert(*partition, position.clone());
                }
            }
        }
        Ok(())
    }
}
