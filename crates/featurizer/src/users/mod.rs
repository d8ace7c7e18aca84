//! The state of a user: the window, the origin of its events, and the form in which it is stored.
//!
//! - `homes`: the partitions that the state holds records of
//! - `codec`: the stored bytes of a user
//! - `cache`: the users that a worker holds in memory
//! - `unsaved`: those of them that are newer than their stored window

mod cache;
mod codec;
mod homes;
mod unsaved;

pub use cache::{Slot, UserLookup, Users};
pub use codec::WHOLE_EVERY_MS;
pub use tidemill_core::record::erasure::{Erasures, Place};

use codec::Stored;
use homes::Homes;
use tidemill_core::features::{Definitions, Evaluation, Limits, Window};

/// Minimum by which a record must extend a hash's life for a PEXPIREAT (ms); less for TTLs below 1,000 s.
const RENEWAL_MS: i64 = 1000;

/// The partition that a user's state belongs to: its worker keeps the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// Partition number.
    pub partition: i32,
    /// Epoch of the partition's building that the state belongs to.
    pub epoch: u32,
}

/// Fields that the hash may hold, and that must be removed when they no longer apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// `_exact`
    pub inexact: bool,
    /// `_complete_from`
    pub incomplete: bool,
}

/// The state of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    homes: Homes,
    /// True if some events came from another partition than `home`.
    mixed: bool,
    /// The newest Kafka timestamp of an event (epoch ms).
    recorded: i64,
    /// Events before this Kafka time may be missing (epoch ms), because of an earlier home or an erasure.
    complete_from: Option<i64>,
    /// Expiry of the hash (epoch ms), unless another record renews it.
    expires_at: i64,
    /// Score in the home's sorted set of expiries; `None` if the user is not in it.
    scheduled: Option<i64>,
    marks: Marks,
    window: Window,
    erasures: Erasures,
    stored: Stored,
    /// Entries inserted since the last write, if it can be followed by an addition.
    unsaved: Vec<u8>,
    /// Before this time (epoch ms) the hash is left as it is. Not stored.
    settles_at: i64,
}

impl User {
    /// A user without events.
    pub fn new(home: Home, erasures: Erasures) -> Self {
        Self {
            homes: Homes::new(home),
            mixed: false,
            recorded: i64::MIN,
            complete_from: None,
            expires_at: 0,
            scheduled: None,
            marks: Marks::default(),
            window: Window::default(),
            erasures,
            stored: Stored::default(),
            unsaved: Vec::new(),
            settles_at: 0,
        }
    }

    /// The partition that the state belongs to.
    pub fn home(&self) -> Home {
        self.homes.home()
    }

    /// The next offset to apply from a partition: its records before are in the state.
    pub fn reached(&self, partition: Home) -> i64 {
        self.homes.of(partition)
    }

    /// Notes that the home's records before `next` are applied.
    pub fn reach(&mut self, next: i64) {
        self.homes.reach(next);
    }

    /// The home, and the earlier ones.
    pub fn homes(&self) -> impl Iterator<Item = Home> {
        let others = self.homes.others().iter().map(|(home, _)| *home);
        std::iter::once(self.home()).chain(others)
    }

    /// Moves the user to another partition; the next write is a whole. Events before `complete_from`, the mark of the
    /// earlier home, may be missing. Returns that home if the user was scheduled there.
    pub fn adopt(&mut self, home: Home, complete_from: Option<i64>) -> Option<Home> {
        self.lack(complete_from);
        let scheduled = self.scheduled.take();
        let before = self.home();
        self.homes.adopt(home);
        self.mixed = true;
        self.stored = Stored::default();
        self.unsaved = Vec::new();
        scheduled.map(|_| before)
    }

    /// Inserts an event's entry; `kafka_time` is in epoch ms.
    pub fn insert(
        &mut self,
        definitions: &Definitions,
        limits: &Limits,
        entry: &[u8],
        kafka_time: i64,
    ) {
        self.window.insert(definitions, entry, limits);
        self.recorded = self.recorded.max(kafka_time);
        self.keep_unsaved(entry);
    }

    /// Notes that events before this Kafka time (epoch ms) may be missing.
    pub fn lack(&mut self, before: Option<i64>) {
        self.complete_from = self.complete_from.max(before);
    }

    /// The Kafka time before which events may be missing (epoch ms), in addition to the home's mark.
    pub fn complete_from(&self) -> Option<i64> {
        self.complete_from
    }

    /// The known erasures of the user.
    pub fn erasures(&self) -> &Erasures {
        &self.erasures
    }

    /// True if an erasure covers all events of the user.
    pub fn is_covered_by(&self, erasure: Place) -> bool {
        let own = self.home().partition == erasure.partition && !self.mixed;
        own || self.recorded <= erasure.time
    }

    /// The window with the user's events.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.window.heap_bytes() + self.unsaved.capacity()
    }

    /// Expiry of the hash (epoch ms).
    pub fn expires_at(&self) -> i64 {
        self.expires_at
    }

    /// Extends the hash's life if that makes a difference; true if it does.
    pub fn renew(&mut self, now: i64, ttl_ms: i64) -> bool {
        let renewed = now + ttl_ms;
        let matters = renewed - self.expires_at >= RENEWAL_MS.min(ttl_ms / 1000);
        if matters {
            self.expires_at = renewed;
        }
        matters
    }

    /// Score in the home's sorted set of expiries (epoch ms); `None` if the user is not in it.
    pub fn scheduled(&self) -> Option<i64> {
        self.scheduled
    }

    /// Sets the score; true if it differs from the earlier one.
    pub fn schedule(&mut self, due: Option<i64>) -> bool {
        std::mem::replace(&mut self.scheduled, due) != due
    }

    /// Leaves the hash as it is until a time (epoch ms).
    pub fn settle_at(&mut self, time: i64) {
        self.settles_at = time;
    }

    /// The time before which the hash is left as it is (epoch ms).
    pub fn settles_at(&self) -> i64 {
        self.settles_at
    }

    /// The marks that the hash holds.
    pub fn marks(&self) -> Marks {
        self.marks
    }

    /// Sets the marks; true if the hash may hold one that must be removed.
    pub fn mark(&mut self, marks: Marks) -> bool {
        let before = std::mem::replace(&mut self.marks, marks);
        (before.inexact && !marks.inexact) || (before.incomplete && !marks.incomplete)
    }

    /// Evaluates the features at the later of `now` and the newest event.
    pub fn evaluate(&self, definitions: &Definitions, now: i64, out: &mut Evaluation) {
        let as_of = self.window.newest().map_or(now, |newest| newest.max(now));
        self.window.evaluate(definitions, as_of, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Home = Home {
        partition: 3,
        epoch: 1,
    };

    fn place(partition: i32, time: i64) -> Place {
        Place {
            partition,
            incarnation: 0,
            offset: 9,
            time,
        }
    }

    #[test]
    fn an_adopted_user_leaves_the_schedule_of_its_earlier_home() {
        let mut user = User::new(HOME, Erasures::default());
        let (one, other) = (
            Home {
                partition: 4,
                epoch: 2,
            },
            Home {
                partition: 5,
                epoch: 2,
            },
        );
        assert_eq!(user.adopt(one, Some(5)), None);
        assert!(user.schedule(Some(7)) && !user.schedule(Some(7)));
        assert_eq!(user.adopt(other, None), Some(one));
        assert_eq!(user.complete_from(), Some(5), "what is missing stays so");
        assert_eq!((user.home(), user.scheduled()), (other, None));
    }

    #[test]
    fn an_erasure_covers_a_user_of_its_partition_or_whose_events_are_not_newer() {
        let definitions = Definitions::standard();
        let mut user = User::new(HOME, Erasures::default());
        let entry = vec![0; definitions.entry_bytes()];
        user.insert(&definitions, &Limits::NONE, &entry, 100);
        for (erasure, covered) in [
            (place(3, 0), true),
            (place(4, 99), false),
            (place(4, 100), true),
        ] {
            assert_eq!(user.is_covered_by(erasure), covered, "{erasure:?}");
        }
        user.adopt(HOME, None);
        assert!(
            !user.is_covered_by(place(3, 99)),
            "events of two partitions"
        );
    }

    #[test]
    fn a_life_is_renewed_once_a_second() {
        let mut user = User::new(HOME, Erasures::default());
        assert!(user.renew(1_000, 50_000) && !user.renew(1_049, 50_000));
        assert!(user.renew(1_050, 50_000));
        assert_eq!(user.expires_at(), 51_050);
    }

    #[test]
    fn marks_that_no_longer_apply_must_go() {
        let mut user = User::new(HOME, Erasures::default());
        let marks = |inexact, incomplete| Marks {
            inexact,
            incomplete,
        };
        for (set, goes) in [
            (marks(true, false), false),
            (marks(true, true), false),
            (marks(false, true), true),
            (marks(true, false), true),
            (marks(true, false), false),
        ] {
            assert_eq!(user.mark(set), goes, "{set:?}");
        }
    }
}
