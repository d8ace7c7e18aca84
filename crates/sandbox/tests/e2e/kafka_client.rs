//! The promises of core's Kafka client to its workers, on a real broker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use sandbox::harness::{Scene, until};
use sandbox::kafka::make_anew;
use tidemill_core::kafka::{Consumer, KafkaConfig, Polled};

use crate::SOON;

/// Long enough for what should not come to come.
const QUIET: Duration = Duration::from_millis(500);

/// The outcome of a poll, without its memory.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Record(i64),
    Assigned,
    Revoked,
    End,
    OutOfRange,
}

/// The next event within `wait`.
fn next(consumer: &Consumer, wait: Duration) -> Result<Option<Event>> {
    let deadline = Instant::now() + wait;
    while Instant::now() < deadline {
        return Ok(Some(match consumer.poll(Duration::from_millis(50))? {
            Polled::Record(record) => Event::Record(record.offset()),
            Polled::Assigned(_) => Event::Assigned,
            Polled::Revoked { .. } => Event::Revoked,
            Polled::End(0) => Event::End,
            Polled::OutOfRange => Event::OutOfRange,
            Polled::End(_) | Polled::Idle => continue,
        }));
    }
    Ok(None)
}

/// The events that are to come now, and no other.
fn expect(consumer: &Consumer, events: &[Event]) -> Result<()> {
    for event in events {
        assert_eq!(next(consumer, SOON)?.as_ref(), Some(event));
    }
    Ok(())
}

fn kafka(scene: &Scene) -> KafkaConfig {
    KafkaConfig::new(&scene.brokers, BTreeMap::new())
}

/// A member of the featurizer's group that reads partition 0 from `position`.
fn member(scene: &Scene, position: i64, writes_to: &str) -> Result<Consumer> {
    let names = &scene.names;
    let (group, topic) = (&names.featurizer_group, &names.user_events);
    let consumer = Consumer::open(&kafka(scene), group, topic, writes_to)?;
    expect(&consumer, &[Event::Assigned])?;
    consumer.start(&[(0, position)])?;
    Ok(consumer)
}

fn send(scene: &Scene, count: usize) -> Result<()> {
    scene.send(&scene.names.user_events, &vec![(None, Some("v")); count])
}

#[test]
fn the_end_of_a_partition_comes_once_for_each_end() -> Result<()> {
    use Event::{End, Record};
    let scene = Scene::new("end", 1)?;
    let consumer = member(&scene, 0, "")?;
    expect(&consumer, &[End])?;
    assert_eq!(next(&consumer, QUIET)?, None, "told once");
    send(&scene, 2)?;
    expect(&consumer, &[Record(0), Record(1), End])?;

    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .set("transactional.id", &scene.names.suffix)
        .create()?;
    producer.init_transactions(SOON)?;
    producer.begin_transaction()?;
    let record = BaseRecord::<(), str>::to(&scene.names.user_events).payload("aborted");
    producer.send(record).map_err(|(error, _)| error)?;
    producer.flush(SOON)?;
    assert_eq!(
        next(&consumer, QUIET)?,
        None,
        "before an open transaction nothing has changed"
    );
    producer.abort_transaction(SOON)?;
    expect(&consumer, &[End])?;

    consumer.seek(0, 1)?;
    expect(&consumer, &[Record(1), End])?;
    consumer.pause(&[0])?;
    assert_eq!(next(&consumer, QUIET)?, None);
    consumer.resume(&[0])?;
    expect(&consumer, &[End])?;
    assert_eq!(next(&consumer, QUIET)?, None);
    Ok(())
}

#[test]
fn a_position_out_of_range_comes_again_until_it_is_sought() -> Result<()> {
    use Event::{End, OutOfRange, Record};
    let scene = Scene::new("range", 1)?;
    send(&scene, 3)?;
    let consumer = member(&scene, 5, "")?;
    expect(&consumer, &[OutOfRange, OutOfRange])?;
    // The log covers the position again, but reading has stopped.
    send(&scene, 3)?;
    expect(&consumer, &[OutOfRange])?;
    consumer.seek(0, 5)?;
    expect(&consumer, &[Record(5), End])?;
    assert_eq!(next(&consumer, 2 * QUIET + QUIET)?, None);
    Ok(())
}

#[test]
fn commits_say_what_their_member_writes_to() -> Result<()> {
    let scene = Scene::new("writes-to", 2)?;
    let names = &scene.names;
    let (group, topic) = (&names.featurizer_group, &names.user_events);
    let outside = Consumer::outside(&kafka(&scene), group, topic)?;
    let others = |own: &str| outside.others_write_to(&[0, 1], own, SOON);
    assert_eq!(others("prefix a")?, None, "nobody has committed anything");
    outside.commit(&[(0, 0)])?;
    assert_eq!(others("prefix a")?, None, "a commit that says nothing");

    let consumer = member(&scene, 0, "prefix a")?;
    let found = consumer.others_write_to(&[0, 1], "prefix a", SOON)?;
    assert_eq!(found, None);
    consumer.commit(&[(0, 1)])?;
    assert_eq!(others("prefix a")?, None);
    assert_eq!(others("prefix b")?.as_deref(), Some("prefix a"));
    drop(consumer);

    let consumer = member(&scene, 0, "prefix b")?;
    consumer.commit_hint(&[(1, 0)]);
    until("the hint's commit", SOON, || {
        ensure!(matches!(next(&consumer, QUIET)?, None | Some(Event::End)));
        others("prefix a")
    })?;
    Ok(())
}

#[test]
fn a_topic_made_anew_has_another_id() -> Result<()> {
    let scene = Scene::new("topic-id", 1)?;
    let names = &scene.names;
    let (group, topic) = (&names.featurizer_group, &names.user_events);
    let consumer = Consumer::outside(&kafka(&scene), group, topic)?;
    let first = consumer.topic_id()?.context("no id")?;
    assert_eq!(consumer.topic_id()?, Some(first));
    assert_eq!(first.to_string().parse(), Ok(first));
    make_anew(&scene.brokers, topic, 1)?;
    let second = consumer.topic_id()?.context("no id")?;
    assert_ne!(second, first);

    let absent = Consumer::outside(&kafka(&scene), group, &format!("{topic}-absent"))?;
    let error = absent.topic_id().unwrap_err();
    assert!(format!("{error:#}").contains("Unknown topic"), "{error:#}");
    let away = Consumer::outside(
        &KafkaConfig::new("localhost:1", BTreeMap::new()),
        group,
        topic,
    )?;
    let begun = Instant::now();
    away.topic_id().unwrap_err();
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    Ok(())
}

#[test]
fn a_program_with_more_workers_than_partitions_leaves_its_group_at_once() -> Result<()> {
    let scene = Scene::new("leaving", 1)?;
    let names = &scene.names;
    let flags = ["--workers", "4"];
    for (mut program, group, topic) in [
        (
            scene.scorer("scorer", &flags)?,
            &names.scorer_group,
            &names.transactions,
        ),
        (
            scene.featurizer("featurizer", &flags)?,
            &names.featurizer_group,
            &names.user_events,
        ),
    ] {
        program.wait_ready()?;
        assert!(program.terminate()?.success());
        // Brokers take this from nobody outside while the group has members.
        Consumer::outside(&kafka(&scene), group, topic)?.commit(&[(0, 0)])?;
    }
    Ok(())
}
