//! A scorer whose topic is made anew or holds other records than it read, and groups that write to the wrong place.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use sandbox::harness::{Scene, until};
use sandbox::kafka::{Stored, make_anew};
use tidemill_core::kafka::{Consumer, KafkaConfig, StoredPosition};

use crate::scorer::{counter, transaction};
use crate::{SOON, assert_ends};

const LOST: &str = "tidemill_lost_records_total";

pub(crate) fn send(scene: &Scene, numbers: std::ops::Range<u64>) -> Result<()> {
    let records: Vec<String> = numbers.map(transaction).collect();
    let records = records.iter().map(|value| (None, Some(value.as_str())));
    let records: Vec<_> = records.collect();
    scene.send(&scene.names.transactions, &records)
}

/// Waits until all of these have a prediction, and returns all predictions.
pub(crate) fn scored(scene: &Scene, numbers: std::ops::Range<u64>) -> Result<Vec<Stored>> {
    until("the predictions", SOON, || {
        let predictions = scene.read(&scene.names.predictions)?;
        let keys = predictions.iter().filter_map(|one| one.key.as_deref());
        let keys: BTreeSet<&[u8]> = keys.collect();
        let mut wanted = numbers.clone().map(|number| format!("t_{number}"));
        let all = wanted.all(|id| keys.contains(id.as_bytes()));
        Ok(all.then_some(predictions))
    })
}

/// A client outside the scorer's group.
fn outside(scene: &Scene) -> Result<Consumer> {
    let kafka = KafkaConfig::new(&scene.brokers, BTreeMap::new());
    let names = &scene.names;
    let writes_to = format!("output topic {}", names.predictions);
    Consumer::outside_for(&kafka, &names.scorer_group, &names.transactions, &writes_to)
}

#[test]
fn a_topic_that_is_made_anew_is_scored_from_its_start() -> Result<()> {
    let scene = Scene::new("anew", 1)?;
    let topic = &scene.names.transactions;
    let mut scorer = scene.scorer("scorer", &["--start", "latest"])?;
    scorer.wait_ready()?;
    send(&scene, 0..40)?;
    assert_eq!(scored(&scene, 0..40)?.len(), 40);
    // The new log soon outgrows the position: offsets alone do not tell.
    for numbers in [100..160, 200..290] {
        make_anew(&scene.brokers, topic, 1)?;
        send(&scene, numbers.clone())?;
        scored(&scene, numbers)?;
    }
    let output = scorer.output();
    assert!(output.contains("the topic was made anew"), "{output}");
    assert_eq!(counter(&scorer, LOST)?, 0);
    assert!(scorer.terminate()?.success());
    Ok(())
}

#[test]
fn a_topic_that_is_made_anew_with_fewer_partitions_is_scored_on() -> Result<()> {
    let scene = Scene::new("fewer", 3)?;
    let mut scorer = scene.scorer("scorer", &["--workers", "2"])?;
    scorer.wait_ready()?;
    send(&scene, 0..60)?;
    scored(&scene, 0..60)?;
    make_anew(&scene.brokers, &scene.names.transactions, 1)?;
    send(&scene, 100..150)?;
    scored(&scene, 100..150)?;
    scorer.wait_ready()?;
    send(&scene, 200..220)?;
    assert_eq!(scored(&scene, 200..220)?.len(), 60 + 50 + 20);
    assert_eq!(counter(&scorer, LOST)?, 0);
    let output = scorer.output();
    let told = |text| output.matches(text).count();
    assert!(told("does not have these partitions") <= 2, "{output}");
    assert!(told("looking up where to read") <= 4, "{output}");
    assert!(scorer.terminate()?.success());
    Ok(())
}

#[test]
fn a_topic_that_was_made_anew_meanwhile_is_scored_from_its_start() -> Result<()> {
    let scene = Scene::new("anew-away", 2)?;
    let mut scorer = scene.scorer("scorer", &["--start", "latest"])?;
    scorer.wait_ready()?;
    send(&scene, 0..40)?;
    scored(&scene, 0..40)?;
    scorer.kill()?;
    make_anew(&scene.brokers, &scene.names.transactions, 2)?;
    send(&scene, 100..150)?;
    scorer.start_again()?;
    assert_eq!(scored(&scene, 100..150)?.len(), 90);
    assert!(scorer.output().contains("the topic was made anew"));
    assert!(scorer.terminate()?.success());
    Ok(())
}

#[test]
fn a_position_that_is_none_of_the_log_is_searched_again() -> Result<()> {
    let scene = Scene::new("other-log", 1)?;
    send(&scene, 0..20)?;
    let outside = outside(&scene)?;
    let topic = outside.topic_id()?;
    let at = |next, last| StoredPosition { topic, next, last };
    let another = StoredPosition {
        topic: "AAAAAAAAAAAAAAAAAAAAAQ".parse().ok(),
        ..at(10, None)
    };
    let table = [
        // A log that was cut, and has grown again or not.
        (
            at(10, Some(1)),
            "another record lies before the position",
            20,
        ),
        (at(50, Some(1)), "the log ends before the position", 20),
        (another, "the topic was deleted and created again", 20),
        (at(15, None), "partitions assigned", 5),
    ];
    let mut before = 0;
    for (position, said, more) in table {
        until("a group without members", SOON, || {
            Ok(outside.commit(&[(0, position)]).ok())
        })?;
        let mut scorer = scene.scorer("scorer", &[])?;
        scorer.wait_ready()?;
        let expected = before + more;
        until("the predictions", SOON, || {
            let count = scene.read(&scene.names.predictions)?.len();
            Ok((count >= expected).then_some(()))
        })?;
        before = scene.read(&scene.names.predictions)?.len();
        assert_eq!(before, expected, "{said}");
        assert!(scorer.output().contains(said), "{}", scorer.output());
        assert!(scorer.terminate()?.success());
    }
    // What was read by itself is gone on from, and is the record that the next start looks for.
    let committed = outside.committed_positions(&[0], SOON)?;
    let last = committed[0].1.and_then(|position| position.last);
    assert!(last.is_some(), "{committed:?}");
    send(&scene, 20..21)?;
    let mut scorer = scene.scorer("scorer", &[])?;
    let predictions = scored(&scene, 20..21)?;
    assert_eq!(predictions.len(), before + 1);
    assert!(scorer.terminate()?.success());
    Ok(())
}

#[test]
fn a_member_with_another_output_topic_refuses_to_start() -> Result<()> {
    let scene = Scene::new("misdirected", 2)?;
    let mut scorer = scene.scorer("right", &[])?;
    scorer.wait_ready()?;
    let elsewhere = format!("{}-elsewhere", scene.names.predictions);
    let wrong = ["--output-topic", elsewhere.as_str()];
    let says = format!("output topic {}", scene.names.predictions);
    assert_ends(scene.scorer("wrong", &wrong)?, 64, &[&says])?;
    assert!(scorer.terminate()?.success());
    assert_ends(scene.scorer("still-wrong", &wrong)?, 64, &[&says])?;
    // Moved by whoever means it, the group is this topic's.
    let reset = [&wrong[..], &["--reset", "--yes"]].concat();
    // The members that were refused may count until their sessions end.
    let mut moved = until("the group to be empty", SOON, || {
        let mut moved = scene.scorer("moved", &reset)?;
        Ok(moved.wait_ready().is_ok().then_some(moved))
    })?;
    send(&scene, 0..5)?;
    until("the predictions", SOON, || {
        Ok((scene.read(&elsewhere)?.len() == 5).then_some(()))
    })?;
    assert!(moved.terminate()?.success());
    scorer.start_again()?;
    assert_ends(scorer, 64, &[&format!("output topic {elsewhere}")])
}

#[test]
fn a_second_group_with_the_same_output_topic_is_warned_of() -> Result<()> {
    let mut scene = Scene::new("second-group", 1)?;
    let mut first = scene.scorer("first", &[])?;
    first.wait_ready()?;
    let group = scene.names.scorer_group.clone();
    scene.names.scorer_group += "-second";
    let mut second = scene.scorer("second", &[])?;
    second.wait_ready()?;
    until("a warning", SOON, || {
        let output = second.output();
        let warned =
            output.contains("each has two") && output.contains(&format!("group=\"{group}\""));
        Ok(warned.then_some(()))
    })?;
    assert!(!first.output().contains("each has two"));
    let mut doctor = scene.scorer("doctor", &["doctor"])?;
    doctor.wait_for_end(SOON)?;
    let expected = format!("group {group} writes predictions of the same transactions");
    assert!(doctor.output().contains(&expected), "{}", doctor.output());
    assert!(first.terminate()?.success() && second.terminate()?.success());
    Ok(())
}
