//! Brings the users of a batch into memory.

use super::apply::{Occasion, Rules};
use crate::assignment::Assignment;
use crate::batch::BatchUser;
use crate::setback::Setback;
use crate::store::{Door, Lease, Position, StoredUser};
use crate::users::{Erasures, Home, User, UserLookup, Users};
use std::collections::BTreeMap;

/// The facts needed to judge a stored user.
pub(super) struct Judge<'a> {
    pub(super) rules: &'a Rules,
    pub(super) assignment: &'a Assignment,
    /// Time (ms) by which a window outlives its hash in the store.
    pub(super) outlives_ms: i64,
    /// The wall clock (epoch ms).
    pub(super) now: i64,
}

/// A stored user, judged by the partitions that the worker has attached.
#[derive(Debug, PartialEq)]
enum Judged {
    /// The user has no state.
    Missing,
    /// The state counts.
    Valid(Box<User>),
    /// The state belongs to a partition of another worker, and counts if its epoch is that partition's current one.
    /// `None` if it cannot be read, perhaps because it has other definitions.
    Foreign(Home, Option<Box<User>>),
    /// The state should be readable and is not; its home, if that can be read.
    Unreadable(Option<i32>),
}

impl Judge<'_> {
    /// True if the window is still stored: Redis has evicted an expired one, or will before the transaction arrives.
    fn lives(&self, user: &User) -> bool {
        user.expires_at().saturating_add(self.outlives_ms) > self.now
    }

    /// Judges the stored window of a user.
    fn judge(&self, window: &[u8], erasures: Erasures) -> Judged {
        let Some(home) = User::stored_home(window) else {
            return match User::is_of_earlier_version(window) {
                true => Judged::Missing,
                false => Judged::Unreadable(None),
            };
        };
        let own = self.assignment.get(home.partition);
        if own.is_some_and(|own| own.position().building.epoch != home.epoch) {
            // It belongs to an earlier building, perhaps with other definitions.
            return Judged::Missing;
        }
        let Rules {
            definitions,
            limits,
        } = self.rules;
        match (User::decode(definitions, limits, window, erasures), own) {
            (Some(user), _) if !self.lives(&user) => Judged::Missing,
            (Some(user), Some(_)) => Judged::Valid(Box::new(user)),
            (user, None) => Judged::Foreign(home, user.map(Box::new)),
            (None, Some(_)) => Judged::Unreadable(Some(home.partition)),
        }
    }
}

/// Positions of other workers' partitions whose users move into a transaction; it has to change them.
pub(super) type Foreign = BTreeMap<i32, Position>;

/// Reads the users that are not in memory. Returns the positions of the other workers' partitions that valid users come
/// from.
pub(super) fn load<D: Door>(
    judge: &Judge<'_>,
    users: &mut Users,
    lease: &mut Lease<D>,
    missing: &[BatchUser],
    occasion: Occasion,
) -> Result<Foreign, Setback> {
    let mut ids = Vec::with_capacity(missing.len());
    for user in missing {
        ids.push(users.slot(user.slot()).id().to_owned());
    }
    let ids: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
    let mut foreign: BTreeMap<i32, Vec<(u32, Home)>> = BTreeMap::new();
    for (user, StoredUser { window, erased }) in missing.iter().zip(lease.load(&ids)?) {
        let slot = users.slot(user.slot());
        let erased = String::from_utf8(erased.unwrap_or_default()).unwrap_or_default();
        let erasures: Erasures = erased.parse().unwrap_or_default();
        let judged = match window {
            None => Judged::Missing,
            Some(bytes) => judge.judge(&bytes, erasures.clone()),
        };
        slot.set(match judged {
            Judged::Valid(state) => UserLookup::Loaded(state),
            Judged::Missing => UserLookup::Missing(erasures),
            Judged::Foreign(home, state) => {
                let of_home = foreign.entry(home.partition).or_default();
                of_home.push((user.slot(), home));
                state.map_or(UserLookup::Missing(erasures), UserLookup::Loaded)
            }
            Judged::Unreadable(home) => return Err(unreadable(slot.id(), home, user.partition())),
        });
        users.saved(user.slot());
    }
    if foreign.is_empty() {
        return Ok(Foreign::new());
    }
    let partitions: Vec<i32> = foreign.keys().copied().collect();
    let positions = lease.look_also(&partitions)?;
    let definitions = judge.rules.definitions.fingerprint();
    let mut taken = Foreign::new();
    for ((partition, slots), text) in foreign.into_iter().zip(positions) {
        let position = text.and_then(|text| text.parse::<Position>().ok());
        let position = position.filter(|found| found.building.definitions == definitions);
        let epoch = position.as_ref().map(|position| position.building.epoch);
        let mut any = false;
        for (index, home) in slots {
            let slot = users.slot(index);
            match slot.user() {
                UserLookup::Loaded(_) if epoch == Some(home.epoch) => any = true,
                UserLookup::Loaded(user) => {
                    let erasures = user.erasures().clone();
                    slot.set(UserLookup::Missing(erasures));
                }
                _ if epoch == Some(home.epoch) => {
                    return Err(unreadable(slot.id(), Some(partition), partition));
                }
                _ => {}
            }
        }
        // Time alone changes nothing for users of other workers.
        if let (true, Occasion::Records, Some(position)) = (any, occasion, position) {
            taken.insert(partition, position);
        }
    }
    Ok(taken)
}

fn unreadable(user: &str, home: Option<i32>, met_in: i32) -> Setback {
    Setback::Unreadable {
        user: user.to_owned(),
        home,
        met_in,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::{OwnedPartition, Rejects};
    use crate::store::position::tests::stored;
    use tidemill_core::features::{Definitions, Limits};

    const LIVES: i64 = 1_000_000;

    /// A worker that has attached partition 0 of epoch 9.
    fn assignment() -> Assignment {
        let position = stored(10, None);
        let rejects = Rejects::restore(&position, []);
        let own = OwnedPartition::new(position, None, false, rejects);
        let mut assignment = Assignment::new(1);
        assignment.assigned(&[0]);
        assignment.attached(BTreeMap::from([(0, own)]));
        assignment
    }

    fn window(partition: i32, epoch: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut user = User::new(Home { partition, epoch }, Erasures::default());
        user.renew(0, LIVES);
        user.encode(&Definitions::standard(), &mut bytes);
        bytes
    }

    fn judge(window: &[u8], now: i64) -> Judged {
        let rules = Rules {
            definitions: Definitions::standard(),
            limits: Limits::NONE,
        };
        let judge = Judge {
            rules: &rules,
            assignment: &assignment(),
            outlives_ms: 10,
            now,
        };
        judge.judge(window, Erasures::default())
    }

    #[test]
    fn a_state_counts_while_it_lives_and_is_of_the_present_building() {
        assert!(matches!(judge(&window(0, 9), 0), Judged::Valid(_)));
        assert_eq!(judge(&window(0, 8), 0), Judged::Missing);
        assert!(matches!(judge(&window(0, 9), LIVES + 9), Judged::Valid(_)));
        assert_eq!(judge(&window(0, 9), LIVES + 10), Judged::Missing);
    }

    #[test]
    fn a_window_that_cannot_be_read_is_told_by_its_home_where_that_can_be_read() {
        let cut = |partition, epoch| {
            let whole = window(partition, epoch);
            judge(&whole[..whole.len() - 1], 0)
        };
        assert_eq!(cut(0, 9), Judged::Unreadable(Some(0)));
        assert_eq!(cut(0, 8), Judged::Missing, "of an earlier building");
        assert_eq!(judge(b"hello", 0), Judged::Unreadable(None));
        assert_eq!(judge(&[3; 60], 0), Judged::Missing, "of an earlier version");
        assert!(matches!(
            cut(3, 1),
            Judged::Foreign(
                Home {
                    partition: 3,
                    epoch: 1
                },
                None
            )
        ));
        assert!(matches!(
            judge(&window(3, 1), 0),
            Judged::Foreign(_, Some(_))
        ));
    }
}
