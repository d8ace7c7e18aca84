//! Partitions are assigned, attached, advanced, given up and revoked.

use super::partition::tests::partition;
use super::*;
use crate::store::position::tests::stored;
use crate::store::{Again, Keys};
use tidemill_core::features::Definitions;

fn attached(ids: &[i32]) -> Assignment {
    let mut assignment = Assignment::new(5);
    assignment.assigned(ids);
    let partitions = ids.iter().map(|id| (*id, partition(None)));
    assert_eq!(assignment.attached(partitions.collect()), ids);
    assignment
}

fn transaction() -> StoreTransaction {
    StoreTransaction::new(&Definitions::standard(), &Keys::new("", "t"))
}

/// Every change is stored.
fn all(_: i32) -> Option<Progress> {
    None
}

fn step(progress: &BTreeMap<i32, Progress>, last: bool) -> Step<'_> {
    static NONE: BTreeSet<i32> = BTreeSet::new();
    Step {
        progress,
        last,
        touched: BTreeSet::new(),
        mixed: &NONE,
        early: &NONE,
        foreign: BTreeMap::new(),
    }
}

fn progress(id: i32, next: i64) -> BTreeMap<i32, Progress> {
    let progress = Progress {
        next,
        last: Some(7),
    };
    BTreeMap::from([(id, progress)])
}

#[test]
fn partitions_wait_until_they_are_attached_and_are_started_once() {
    let now = Instant::now();
    let mut assignment = Assignment::new(5);
    assert!(!assignment.has_joined());
    assignment.assigned(&[1, 2]);
    assert!(assignment.has_joined());
    assert_eq!(assignment.due(now), [1, 2]);
    let both = BTreeMap::from([(1, partition(None)), (2, partition(None))]);
    assert_eq!(assignment.attached(both.clone()), [1, 2]);
    assert!(assignment.waiting().is_empty() && assignment.due(now).is_empty());
    assignment.go_back(&Setback::Superseded, &BTreeMap::new(), now);
    assert_eq!(
        assignment.attached(both),
        [0; 0],
        "the consumer reads them already"
    );
    assignment.revoked(&[1]);
    assignment.assigned(&[1]);
    let one = BTreeMap::from([(1, partition(None))]);
    assert_eq!(assignment.attached(one), [1]);
}

#[test]
fn setbacks_are_followed_by_longer_and_longer_pauses_until_one_succeeds() {
    let start = Instant::now();
    let mut assignment = attached(&[0]);
    let pause = |assignment: &mut Assignment| {
        assignment.go_back(&Setback::Superseded, &BTreeMap::new(), start);
        let steps = (0..).map(|step| step * Duration::from_millis(100));
        let ready = |wait: &Duration| !assignment.due(start + *wait).is_empty();
        steps.into_iter().find(ready).unwrap()
    };
    let pauses: Vec<u128> = (0..6).map(|_| pause(&mut assignment).as_millis()).collect();
    assert_eq!(pauses, [300, 600, 1200, 2400, 4800, 5000]);
    assert!(assignment.is_failing());
    assignment.attached(BTreeMap::from([(0, partition(None))]));
    assert!(!assignment.is_failing());
    assert_eq!(pause(&mut assignment), PAUSE);
}

#[test]
fn a_worker_fails_until_the_records_that_it_failed_at_are_applied() {
    let mut assignment = attached(&[0, 1]);
    let letters = Setback::DeadLetters(String::new());
    assignment.go_back(&letters, &progress(0, 15), Instant::now());
    let both = BTreeMap::from([(0, partition(None)), (1, partition(None))]);
    assignment.attached(both);
    for (positions, failing) in [
        (vec![(1, 99)], true),
        (vec![(0, 14)], true),
        (vec![(0, 15)], false),
    ] {
        assignment.succeeded(&positions);
        assert_eq!(assignment.is_failing(), failing, "{positions:?}");
    }
    assignment.go_back(&letters, &progress(0, 20), Instant::now());
    assignment.revoked(&[0, 1]);
    assert!(!assignment.is_failing(), "they are others' to apply");
}

#[test]
fn a_setback_that_needs_a_rebuild_is_remembered_until_the_partitions_are_attached() {
    let mut assignment = attached(&[0, 1]);
    assignment.go_back(&Setback::OtherLog(1), &BTreeMap::new(), Instant::now());
    assert_eq!(assignment.causes()[&1], Cause::OtherRecord);
    let lost = Setback::StoreLost(String::new());
    assignment.go_back(&lost, &BTreeMap::new(), Instant::now());
    assert_eq!(assignment.causes()[&1], Cause::OtherRecord);
    assignment.attached(BTreeMap::from([(0, partition(None)), (1, partition(None))]));
    assert!(assignment.causes().is_empty());
}

#[test]
fn the_last_transaction_of_a_batch_moves_the_position_up_to_what_is_not_stored() {
    let mut transaction = transaction();
    let mut assignment = Assignment::new(5);
    let warm = |id| {
        let position = stored(10, None);
        let rejects = Rejects::restore(&position, []);
        (id, OwnedPartition::new(position, None, false, rejects))
    };
    assignment.attached([0, 1].map(warm).into());
    let progress = progress(0, 30);
    let low = |id| {
        let low = Progress {
            next: 12,
            last: Some(3),
        };
        (id == 0).then_some(low)
    };
    for (last, shown) in [(false, (10, 30)), (true, (30, 30))] {
        transaction.clear();
        assignment.advance(step(&progress, last), low, &mut transaction);
        let [(0, position)] = transaction.positions() else {
            panic!("only what has moved is written");
        };
        let found = position.shown.unwrap();
        assert_eq!((position.offset, (found.from, found.until)), (12, shown));
    }
    assert_eq!(assignment.positions(), [(0, 30), (1, 10)]);
    transaction.clear();
    assignment.advance(step(&BTreeMap::new(), true), all, &mut transaction);
    let [(0, position)] = transaction.positions() else {
        panic!("its last change is stored now");
    };
    assert_eq!((position.offset, position.shown), (30, None));
}

#[test]
fn every_write_has_a_token_of_its_own_and_signs_what_it_touches() {
    let (mut assignment, mut transaction) = (attached(&[0, 1, 2]), transaction());
    let mut tokens = Vec::new();
    for touched in [1, 2] {
        transaction.clear();
        let empty = BTreeMap::new();
        let decay = Step {
            touched: BTreeSet::from([touched, 9]),
            ..step(&empty, true)
        };
        assignment.advance(decay, all, &mut transaction);
        let [(id, position)] = transaction.positions() else {
            panic!("a partition of another worker is not written");
        };
        assert_eq!(*id, touched);
        tokens.push(position.token);
    }
    assert_ne!(tokens[0], tokens[1]);
}

#[test]
fn partitions_that_come_to_share_users_are_marked_wherever_they_are() {
    let (mut assignment, mut transaction) = (attached(&[0]), transaction());
    let progress = progress(0, 11);
    let shared = Step {
        mixed: &BTreeSet::from([0, 3]),
        early: &BTreeSet::new(),
        foreign: BTreeMap::from([(3, stored(50, None))]),
        ..step(&progress, true)
    };
    assignment.advance(shared, all, &mut transaction);
    assert!(assignment.get(0).unwrap().position().mixed);
    let text = transaction.text();
    assert!(
        text.contains("position:t:3") && text.matches("mixed=1").count() == 2,
        "{text}"
    );
    assert!(!text.contains("token=7-3"), "the other worker must notice");
}

#[test]
fn windows_are_built_once_more_after_an_early_erasure_and_never_a_third_time() {
    let now = Instant::now();
    let mut assignment = attached(&[0, 1]);
    let early = BTreeSet::from([1]);
    let advance = |assignment: &mut Assignment, next| {
        let progress = progress(1, next);
        let step = Step {
            early: &early,
            ..step(&progress, true)
        };
        assignment.advance(step, all, &mut transaction());
    };
    advance(&mut assignment, 15);
    assert_eq!(assignment.due_again(now), [0; 0], "warming up to 20");
    advance(&mut assignment, 20);
    assert_eq!(assignment.due_again(now), [1]);
    assert_eq!(assignment.due_again(now), [0; 0], "once a second");
    let later = now + PUT_OFF;
    assert_eq!(assignment.due_again(later), [1]);
    let mut second = partition(None).position().clone();
    second.again = Again::Done;
    let rejects = Rejects::restore(&second, []);
    let second = OwnedPartition::new(second, None, false, rejects);
    assignment.attached(BTreeMap::from([(1, second)]));
    advance(&mut assignment, 20);
    assert_eq!(assignment.due_again(later), [0; 0]);
}
