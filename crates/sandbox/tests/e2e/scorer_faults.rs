//! Scorers that are killed, stopped, replaced and joined at random, unusable records among the payments: each record
//! leads to exactly one prediction or dead letter, in the order of its partition.

use std::collections::BTreeMap;
use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use sandbox::harness::{Names, Program, Scene, until};
use sandbox::kafka::{Producer, Stored};

use crate::SOON;
use crate::scorer::{
    PREDICTIONS, assert_each_once, counter, grows, receipt, transaction, under_traffic,
};

/// Longer than the group waits for a member that is silent: its partitions go to others meanwhile.
const ZOMBIE: Duration = Duration::from_millis(7_500);

/// Faults of a run, and payments sent every 10 ms while they happen; `SCORER_FAULTS=long` for the long form.
fn extent() -> (usize, u64) {
    match env::var("SCORER_FAULTS").as_deref() {
        Ok("long") => (40, 20),
        _ => (4, 10),
    }
}

/// Sends payments, each 50th of them unusable, until stopped; returns how many.
fn traffic(scene: &Scene, every_10_ms: u64, stop: &AtomicBool) -> Result<u64> {
    let producer = Producer::open(&scene.brokers)?;
    let topic = &scene.names.transactions;
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..every_10_ms {
            let value = match sent % 50 {
                7 => format!(r#"{{"transaction_id":"t_{sent}","amount":"much"}}"#),
                _ => transaction(sent),
            };
            let key = format!("t_{sent}");
            producer.send(topic, Some(key.as_bytes()), Some(value.as_bytes()), None)?;
            sent += 1;
        }
        // A pace, not a wait for anything.
        thread::sleep(Duration::from_millis(10));
    }
    producer.flush()?;
    Ok(sent)
}

fn strike(scorers: &mut [Program], faults: usize, mut rng: ChaCha8Rng) -> Result<()> {
    for round in 0..faults {
        let length = scorers.len();
        let victim = &mut scorers[rng.random_range(0..length)];
        thread::sleep(Duration::from_millis(rng.random_range(0..2_000)));
        match round % 4 {
            0 | 2 => {
                victim.kill()?;
                victim.start_again()?;
            }
            1 => {
                victim.pause()?;
                thread::sleep(ZOMBIE);
                victim.resume()?;
            }
            _ => {
                assert!(victim.terminate()?.success(), "{}", victim.output());
                victim.start_again()?;
            }
        }
    }
    Ok(())
}

/// Where the records lie that predictions and dead letters were made of, in the order of these.
fn sources(predictions: &[Stored], dead_letters: &[Stored]) -> Result<Vec<(i64, i64)>> {
    let mut sources = Vec::new();
    for prediction in predictions {
        let receipt = receipt(prediction)?;
        let of = |name: &str| receipt[name].as_i64().context("no coordinates");
        sources.push((of("partition")?, of("offset")?));
    }
    for letter in dead_letters {
        let of = |name: &str| letter.header(name).context("no coordinates");
        sources.push((
            of("source.partition")?.parse()?,
            of("source.offset")?.parse()?,
        ));
    }
    Ok(sources)
}

#[test]
fn every_record_is_answered_once_and_in_order_whatever_happens() -> Result<()> {
    let scene = Scene::new("scorer-faults", 6)?;
    let (faults, every_10_ms) = extent();
    let dead_letters = Names::dead_letters(&scene.names.transactions);
    // One comes back under its name, the others as strangers.
    let mut scorers = [
        scene.scorer("one", &["--instance", "one", "--workers", "2"])?,
        scene.scorer("two", &["--workers", "2"])?,
        scene.scorer("three", &["--workers", "1"])?,
    ];
    for scorer in &mut scorers {
        scorer.wait_ready()?;
    }
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let sending = scope.spawn(|| traffic(&scene, every_10_ms, &stop));
        let outcome = strike(&mut scorers, faults, ChaCha8Rng::seed_from_u64(47));
        stop.store(true, Ordering::Relaxed);
        let sent = sending.join().ok().context("the traffic panicked")?;
        outcome?;
        sent
    })?;
    let log = scene.read(&scene.names.transactions)?;
    assert_eq!(log.len() as u64, sent);
    let (predictions, letters) = until("all answers", SOON, || {
        let predictions = scene.read(&scene.names.predictions)?;
        let letters = scene.read(&dead_letters)?;
        let answered = predictions.len() + letters.len();
        Ok((answered >= log.len()).then_some((predictions, letters)))
    })?;
    let mut answers: BTreeMap<(i64, i64), u64> = BTreeMap::new();
    for source in sources(&predictions, &letters)? {
        *answers.entry(source).or_default() += 1;
    }
    let known = |record: &&Stored| !answers.contains_key(&(record.partition.into(), record.offset));
    let lost = log.iter().filter(known).count();
    let doubled = answers.values().filter(|count| **count > 1).count();
    println!("{sent} records, {faults} faults: {lost} lost, {doubled} doubled");
    assert_eq!((lost, doubled), (0, 0), "lost and doubled of {sent}");
    assert_eq!(letters.len() as u64, (sent + 42) / 50, "unusable records");
    // Keys decide the partition, here as there, so that each partition of predictions has one source.
    let mut newest: BTreeMap<i32, i64> = BTreeMap::new();
    for (prediction, (partition, offset)) in predictions.iter().zip(sources(&predictions, &[])?) {
        assert_eq!(i64::from(prediction.partition), partition);
        let before = newest.insert(prediction.partition, offset);
        assert!(
            before.is_none_or(|before| before < offset),
            "{partition}: {before:?}, {offset}"
        );
    }
    for scorer in &mut scorers {
        assert!(scorer.terminate()?.success(), "{}", scorer.output());
    }
    Ok(())
}

/// A position of a group in a transaction that stays open, as a scorer leaves it that is killed in one.
pub(crate) struct OpenPosition(ThreadedProducer<DefaultProducerContext>);

impl OpenPosition {
    pub(crate) fn of(scene: &Scene, group: &str, partition: i32) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &scene.brokers);
        config.set("group.id", group);
        let outsider: BaseConsumer = config.create()?;
        config.set("transactional.id", group);
        // Longer than any test looks at it: the brokers end no transaction before.
        config.set("transaction.timeout.ms", "600000");
        let producer: ThreadedProducer<_> = config.create()?;
        producer.init_transactions(SOON)?;
        producer.begin_transaction()?;
        let mut positions = TopicPartitionList::new();
        let topic = &scene.names.transactions;
        positions.add_partition_offset(topic, partition, Offset::Offset(0))?;
        let member = outsider.group_metadata().context("no metadata")?;
        producer.send_offsets_to_transaction(&positions, &member, SOON)?;
        Ok(OpenPosition(producer))
    }

    fn give_up(self) -> Result<()> {
        Ok(self.0.abort_transaction(SOON)?)
    }
}

/// Takes the transactional id of a scorer's first producer, whose next transaction fails.
fn fence(scene: &Scene, instance: &str) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &scene.brokers);
    let id = format!("{}-{instance}-0-a", scene.names.scorer_group);
    let producer: ThreadedProducer<_> = config.set("transactional.id", id).create()?;
    Ok(producer.init_transactions(SOON)?)
}

/// The partition that a scorer was given last, by its log.
fn assigned(scorer: &Program) -> Result<Option<i32>> {
    let output = scorer.output();
    let positions = output
        .rsplit_once("partitions assigned")
        .map(|(_, rest)| rest);
    let partition = positions.and_then(|rest| rest.split_once("positions=\"")?.1.split_once('@'));
    Ok(partition
        .map(|(partition, _)| partition.parse())
        .transpose()?)
}

#[test]
fn positions_that_a_dead_member_keeps_open_hold_up_only_its_partitions() -> Result<()> {
    let scene = Scene::new("open-positions", 2)?;
    let named = ["--workers", "1", "--instance", "survivor"];
    let mut survivor = scene.scorer("survivor", &named)?;
    survivor.wait_ready()?;
    // It comes second, so that it is given one partition, once.
    let mut other = scene.scorer("other", &["--workers", "1"])?;
    other.wait_ready()?;
    let held = until("a partition each", SOON, || assigned(&other))?;
    let sent = under_traffic(&scene, || {
        grows(&survivor, PREDICTIONS, 100)?;
        let open = OpenPosition::of(&scene, &scene.names.scorer_group, held)?;
        assert!(other.terminate()?.success());
        until("the survivor to take over", SOON, || {
            let (_, reasons) = survivor.page("/readyz")?;
            Ok(reasons.contains("looking up").then_some(()))
        })?;
        // A batch that is undone is no reason to wait either.
        let undone = || counter(&survivor, "tidemill_transactions_undone_total");
        let before = undone()?;
        fence(&scene, "survivor")?;
        until("a batch to be undone", SOON, || {
            Ok((undone()? > before).then_some(()))
        })?;
        grows(&survivor, PREDICTIONS, 500)?;
        assert!(survivor.page("/readyz")?.1.contains("looking up"));
        open.give_up()?;
        survivor.wait_ready()
    })?;
    assert_each_once(&scene, sent)?;
    assert!(survivor.terminate()?.success());
    Ok(())
}
