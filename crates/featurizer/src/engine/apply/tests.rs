//! The changes that a batch makes in memory, and its writes to the store.

use super::*;
use crate::assignment::Rejects;
use crate::store::Keys;
use crate::store::position::tests::stored;
use crate::users::Place;

const NOW: i64 = 1_790_000_000_000;
const DAY: i64 = 86_400_000;

/// A worker's memory, with partitions 0 and 1 of epoch 9 attached.
struct Scene {
    rules: Rules,
    assignment: Assignment,
    users: Users,
    batch: Batch,
    foreign: BTreeMap<i32, Position>,
}

fn scene(change: impl Fn(&mut Position)) -> Scene {
    let mut assignment = Assignment::new(1);
    assignment.assigned(&[0, 1]);
    let own = |id| {
        let mut position = stored(10, None);
        change(&mut position);
        let rejects = Rejects::restore(&position, []);
        (id, OwnedPartition::new(position, None, false, rejects))
    };
    assignment.attached([0, 1].map(own).into());
    let definitions = Definitions::standard();
    Scene {
        rules: Rules {
            definitions,
            limits: Limits::NONE,
        },
        assignment,
        users: Users::new(usize::MAX),
        batch: Batch::default(),
        foreign: BTreeMap::new(),
    }
}

impl Scene {
    /// Puts a change of a user into the batch.
    fn change(&mut self, user: &str, partition: i32, kafka_time: i64, change: Change) {
        let index = self.users.find(user);
        let slot = self.users.slot(index);
        if matches!(slot.user(), UserLookup::NotLoaded) {
            slot.set(UserLookup::Missing(Erasures::default()));
        }
        let at = match slot.place() {
            Some(at) => at,
            None => self.batch.touch(index, partition, 0),
        };
        self.users.slot(index).put(at);
        let place = Place {
            partition,
            incarnation: 4,
            offset: kafka_time - NOW + 100,
            time: kafka_time,
        };
        self.batch.change(at, place, place.offset, change);
    }

    /// Puts a purchase of 5 into the batch.
    fn event(&mut self, user: &str, partition: i32, kafka_time: i64) {
        let begin = self.batch.entries().len() as u32;
        for word in [
            kafka_time.to_le_bytes(),
            1u64.to_le_bytes(),
            5f64.to_le_bytes(),
        ] {
            self.batch.entries().extend_from_slice(&word);
        }
        self.change(user, partition, kafka_time, Change::Event(begin));
    }

    /// Adds a user that is due to the batch.
    fn due(&mut self, user: &str, partition: i32) {
        let index = self.users.find(user);
        let at = self.batch.touch(index, partition, 0);
        self.users.slot(index).put(at);
    }

    /// Applies the batch, and returns the commands for the store.
    fn apply(&mut self, occasion: Occasion, now: i64) -> (Applied, String) {
        let keys = Keys::new("", "t");
        let mut transaction = StoreTransaction::new(&self.rules.definitions, &keys);
        let context = Context {
            rules: &self.rules,
            batch: &self.batch,
            assignment: &self.assignment,
            foreign: &self.foreign,
            occasion,
            now,
        };
        let all = 0..self.batch.users().len();
        let users = &mut self.users;
        let applied = Applier::default().apply(&context, all, users, &mut transaction);
        self.batch.clear();
        let words = transaction.text();
        let words = words
            .split("\r\n")
            .filter(|word| !word.starts_with(['*', '$']));
        (applied, words.collect::<Vec<_>>().join(" "))
    }

    fn user(&mut self, user: &str) -> Option<&User> {
        let index = self.users.find(user);
        match self.users.slot(index).user() {
            UserLookup::Loaded(user) => Some(user),
            _ => None,
        }
    }
}

#[test]
fn an_event_makes_a_hash_that_is_due_when_it_leaves_the_window() {
    let mut scene = scene(|_| {});
    scene.event("u", 0, NOW);
    let (applied, text) = scene.apply(Occasion::Records, NOW);
    assert!(
        text.contains("DEL features:u HSET features:u purchase_count_24h 1"),
        "{text}"
    );
    assert!(
        text.contains("PEXPIREAT") && text.contains("SET window:u"),
        "{text}"
    );
    assert!(
        text.contains(&format!("ZADD expiry:t:0 {} u", NOW + DAY)),
        "{text}"
    );
    assert_eq!(
        (applied.end, applied.touched, applied.adopted),
        (1, [0].into(), 0)
    );
}

#[test]
fn a_warm_up_writes_windows_and_leaves_hashes_for_its_end() {
    let mut scene = scene(|position| position.warm_until = Some(99));
    scene.event("u", 0, NOW);
    let (_, text) = scene.apply(Occasion::Records, NOW);
    assert!(!text.contains("features:u"), "{text}");
    assert!(text.contains("ZADD expiry:t:0 0 u"), "{text}");
}

#[test]
fn time_alone_prolongs_no_life_and_rewrites_only_users_of_its_partition() {
    let mut scene = scene(|_| {});
    scene.event("u", 0, NOW);
    scene.apply(Occasion::Records, NOW);
    let end = scene.user("u").unwrap().expires_at();
    scene.due("u", 0);
    let (_, text) = scene.apply(Occasion::Decay, NOW + DAY);
    assert!(
        text.contains("HSET features:u purchase_count_24h 0"),
        "{text}"
    );
    assert!(text.contains("ZREM expiry:t:0 u"), "{text}");
    assert_eq!(scene.user("u").unwrap().expires_at(), end);
    scene.due("u", 1);
    let (_, text) = scene.apply(Occasion::Decay, NOW + DAY);
    assert!(
        text.contains("ZREM expiry:t:1 u") && !text.contains("HSET"),
        "{text}"
    );
}

#[test]
fn a_user_of_another_partition_is_adopted_and_both_are_mixed() {
    let mut scene = scene(|_| {});
    scene.event("u", 0, NOW);
    scene.apply(Occasion::Records, NOW);
    scene.event("u", 1, NOW + 1);
    let (applied, text) = scene.apply(Occasion::Records, NOW + 1);
    assert_eq!((applied.adopted, applied.mixed), (1, [0, 1].into()));
    assert!(
        text.contains("ZREM expiry:t:0 u") && text.contains("expiry:t:1"),
        "{text}"
    );
    assert!(
        text.contains("SET window:u"),
        "the whole, not an addition: {text}"
    );
    assert_eq!(scene.user("u").unwrap().home().partition, 1);
}

#[test]
fn an_erasure_takes_what_it_covers_and_later_events_begin_anew() {
    let mut scene = scene(|_| {});
    scene.event("u", 0, NOW);
    scene.apply(Occasion::Records, NOW);
    scene.change("u", 0, NOW + 1, Change::Erasure);
    let (_, text) = scene.apply(Occasion::Records, NOW + 1);
    assert!(
        text.contains("DEL features:u window:u SET erased:"),
        "{text}"
    );
    assert!(
        text.contains("ZREM expiry:t:0 u") && scene.user("u").is_none(),
        "{text}"
    );
    // The cache evicts users without a state: the store knows the erasure.
    let mut erasures = Erasures::default();
    let place = Place {
        partition: 0,
        incarnation: 4,
        offset: 101,
        time: NOW + 1,
    };
    erasures.add(place);
    let index = scene.users.find("u");
    scene.users.slot(index).set(UserLookup::Missing(erasures));
    scene.event("u", 1, NOW);
    scene.event("u", 1, NOW + 1);
    let (_, text) = scene.apply(Occasion::Records, NOW + 2);
    assert!(
        !text.contains("window:u"),
        "not newer than the erasure: {text}"
    );
    let index = scene.users.find("u");
    let mut erasures = Erasures::default();
    erasures.add(place);
    scene.users.slot(index).set(UserLookup::Missing(erasures));
    scene.event("u", 1, NOW + 2);
    let (_, text) = scene.apply(Occasion::Records, NOW + 2);
    assert!(text.contains("purchase_count_24h 1"), "{text}");
}

#[test]
fn newer_events_that_go_with_an_erasure_of_another_partition_are_told() {
    let mut scene = scene(|_| {});
    scene.event("u", 0, NOW);
    scene.event("u", 0, NOW + 50);
    scene.apply(Occasion::Records, NOW + 50);
    scene.change("u", 1, NOW + 1, Change::Erasure);
    let (_, text) = scene.apply(Occasion::Records, NOW + 60);
    let complete = format!("purchase_count_24h 0 total_spend_24h 0 _as_of {}", NOW + 60);
    assert!(text.contains("DEL features:u window:u"), "{text}");
    assert!(
        text.contains(&format!("_complete_from {}", NOW + 61 + FUTURE_LIMIT_MS)),
        "{text}"
    );
    assert!(text.contains("purchase_count_24h 0"), "{complete}: {text}");
}

#[test]
fn the_sweep_ends_users_that_are_left_behind_and_marks_those_whose_events_are_deleted() {
    for (complete_from, marked) in [
        (None, false),
        (Some(NOW), true),
        (Some(NOW - DAY), true),
        (Some(NOW - DAY - FUTURE_LIMIT_MS), false),
    ] {
        let mut scene = scene(|position| position.complete_from = complete_from);
        let place = (0, NOW);
        scene.change("u", place.0, place.1, Change::Check);
        let (_, text) = scene.apply(Occasion::Decay, NOW);
        assert!(text.contains("DEL features:u window:u"), "{text}");
        assert_eq!(
            text.contains("_complete_from"),
            marked,
            "{complete_from:?}: {text}"
        );
        assert_eq!(scene.user("u").is_some(), marked);
    }
}

#[test]
fn the_sweep_passes_users_whose_hashes_say_what_they_should() {
    let mut scene = scene(|_| {});
    scene.event("u", 0, NOW);
    scene.apply(Occasion::Records, NOW);
    scene.change("u", 0, NOW, Change::Check);
    let (_, text) = scene.apply(Occasion::Decay, NOW);
    assert_eq!(text, "MULTI EXEC ");
    scene.change("u", 0, NOW, Change::Check);
    let (_, text) = scene.apply(Occasion::Decay, NOW + DAY);
    assert!(text.contains("HSET"), "due meanwhile: {text}");
}

#[test]
fn users_of_other_workers_are_not_kept() {
    let mut scene = scene(|_| {});
    let home = Home {
        partition: 7,
        epoch: 1,
    };
    let index = scene.users.find("u");
    let user = User::new(home, Erasures::default());
    scene
        .users
        .slot(index)
        .set(UserLookup::Loaded(Box::new(user)));
    let position = Position {
        complete_from: Some(NOW - 5),
        ..stored(3, None)
    };
    scene.foreign.insert(7, position);
    scene.due("u", 0);
    let (_, text) = scene.apply(Occasion::Decay, NOW);
    assert!(
        text.contains("ZREM expiry:t:0 u") && !text.contains("HSET"),
        "{text}"
    );
    assert!(scene.user("u").is_none(), "its own worker may write it");
    let index = scene.users.find("u");
    let user = User::new(home, Erasures::default());
    scene
        .users
        .slot(index)
        .set(UserLookup::Loaded(Box::new(user)));
    scene.event("u", 0, NOW);
    let (applied, text) = scene.apply(Occasion::Records, NOW);
    assert_eq!(applied.mixed, [0, 7].into());
    assert!(
        text.contains(&format!("_complete_from {}", NOW - 5 + FUTURE_LIMIT_MS)),
        "as its home said: {text}"
    );
}

/// A position whose hashes show the records before `from`, and some of those before `until`.
fn shown(position: &mut Position, from: i64, until: i64) {
    let last = None;
    position.shown = Some(crate::store::Shown { from, until, last });
}

#[test]
fn a_new_user_is_stored_at_once_and_later_events_wait_for_a_checkpoint() {
    let mut scene = scene(|_| {});
    scene.event("u", 0, NOW);
    let (_, text) = scene.apply(Occasion::Records, NOW);
    assert!(text.contains("SET window:u"), "{text}");
    let index = scene.users.find("u");
    assert!(!scene.users.is_unsaved(index));
    scene.users.begin(NOW, std::iter::empty());
    scene.event("u", 0, NOW + 1);
    let (_, text) = scene.apply(Occasion::Records, NOW + 1);
    assert!(text.contains("purchase_count_24h 2"), "{text}");
    assert!(
        !text.contains("window:u") && scene.users.is_unsaved(index),
        "{text}"
    );
}

#[test]
fn a_record_that_the_window_holds_is_not_applied_again() {
    let mut scene = scene(|_| {});
    scene.event("u", 0, NOW + 5);
    scene.apply(Occasion::Records, NOW + 5);
    // The offset follows from the time.
    scene.event("u", 0, NOW + 5);
    scene.event("u", 0, NOW + 4);
    let (_, text) = scene.apply(Occasion::Records, NOW + 6);
    assert_eq!(text, "MULTI EXEC ");
    scene.event("u", 0, NOW + 6);
    let (_, text) = scene.apply(Occasion::Records, NOW + 6);
    assert!(text.contains("purchase_count_24h 2"), "{text}");
}

#[test]
fn no_hash_is_written_before_all_is_applied_that_hashes_show() {
    let mut scene = scene(|position| shown(position, 103, 105));
    for user in ["u", "v"] {
        let index = scene.users.find(user);
        let home = Home {
            partition: 0,
            epoch: 9,
        };
        let mut state = User::new(home, Erasures::default());
        state.renew(NOW, DAY);
        state.encode(&scene.rules.definitions, &mut Vec::new());
        let slot = scene.users.slot(index);
        slot.set(UserLookup::Loaded(Box::new(state)));
    }
    // At offsets 101 and 104.
    scene.event("u", 0, NOW + 1);
    scene.event("v", 0, NOW + 4);
    scene.batch.record(
        Place {
            partition: 0,
            incarnation: 4,
            offset: 103,
            time: NOW,
        },
        None,
        None,
        None,
    );
    let (_, text) = scene.apply(Occasion::Records, NOW + 4);
    assert!(!text.contains("HSET"), "{text}");
    assert!(
        text.contains("ZADD expiry:t:0 0 v"),
        "its hash may lack the event: {text}"
    );
    assert!(!text.contains(" u"), "its hash shows the event: {text}");
    scene.due("v", 0);
    let (_, text) = scene.apply(Occasion::Decay, NOW + 4);
    assert!(!text.contains("HSET"), "{text}");
    scene.event("u", 0, NOW + 5);
    scene.batch.record(
        Place {
            partition: 0,
            incarnation: 4,
            offset: 105,
            time: NOW,
        },
        None,
        None,
        None,
    );
    let (_, text) = scene.apply(Occasion::Records, NOW + 5);
    assert!(
        text.contains("HSET features:u purchase_count_24h 2"),
        "{text}"
    );
}
