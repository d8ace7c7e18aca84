//! Collectors and what happens to their topic, their group and their store: topics made anew, retention, members that
//! write elsewhere, a claims' store that is away, records that trickle.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sandbox::harness::{Program, Scene, until};
use sandbox::kafka::{Producer, delete_before, make_anew};
use sandbox::oracle::read_data_set;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::collector::{assert_complete, assert_whole, labeled, verify};
use crate::scorer::counter;
use crate::{SOON, assert_ends};

/// Sends labeled events of these numbers, each with its number as its Kafka time.
fn send(scene: &Scene, numbers: std::ops::Range<u64>) -> Result<()> {
    let producer = Producer::open(&scene.brokers)?;
    for number in numbers {
        let (value, time) = (labeled(number), Some(TIME + number as i64));
        let topic = &scene.names.labeled_events;
        producer.send(topic, Some(b"k"), Some(value.as_bytes()), time)?;
    }
    producer.flush()
}

/// The Kafka time of event 0.
const TIME: i64 = 1_771_000_000_000;

fn rows(scene: &Scene) -> usize {
    read_data_set(&scene.data_set()).map_or(0, |found| found.rows.len())
}

/// The new log has outgrown the position, so that no offset tells.
#[test]
fn a_topic_that_is_made_anew_under_a_running_collector_ends_it() -> Result<()> {
    let scene = Scene::new("co-anew", 1)?;
    let collector = scene.collector("collector", &["--max-age", "100ms"])?;
    send(&scene, 0..100)?;
    until("the first records", SOON, || {
        Ok((rows(&scene) == 100).then_some(()))
    })?;
    make_anew(&scene.brokers, &scene.names.labeled_events, 1)?;
    send(&scene, 1_000..1_120)?;
    let says = ["deleted and created again", "another --out"];
    assert_ends(collector, 64, &says)?;
    // Nor do the next ones take the new log's records from there on.
    for flags in [&["--until-end"][..], &[]] {
        assert_ends(scene.collector("next", flags)?, 64, &says)?;
    }
    assert_eq!(rows(&scene), 100);
    assert_whole(&scene.data_set())
}

#[test]
fn what_retention_took_before_from_is_said_and_a_later_run_goes_on() -> Result<()> {
    let scene = Scene::new("co-from", 1)?;
    let topic = &scene.names.labeled_events;
    send(&scene, 0..300)?;
    delete_before(&scene.brokers, topic, 0, 100)?;
    let from = (TIME + 50).to_string();
    let says = ["retention has deleted the oldest records"];
    assert_ends(scene.collector("first", &["--from", &from])?, 0, &says)?;
    assert_eq!(rows(&scene), 200);
    // Again, after retention has passed the end of the files.
    send(&scene, 300..500)?;
    delete_before(&scene.brokers, topic, 0, 350)?;
    assert_ends(scene.collector("second", &["--from", &from])?, 0, &[])?;
    assert_eq!(rows(&scene), 350);
    let told = String::from_utf8(verify(&scene.data_set())?.stdout)?;
    assert!(told.contains("50 offsets lost to retention"), "{told}");
    // Within the log a hole would be ours.
    let later = (TIME + 560).to_string();
    send(&scene, 500..600)?;
    let says = ["give another --out"];
    assert_ends(scene.collector("third", &["--from", &later])?, 64, &says)
}

#[test]
fn members_of_a_group_collect_into_one_data_set() -> Result<()> {
    let scene = Scene::new("co-group", 2)?;
    let out = |name: &str| scene.folder().join(name).display().to_string();
    let (a, b) = (out("a"), out("b"));
    let mut first = scene.collector("first", &["--out", &a])?;
    first.wait_ready()?;
    send(&scene, 0..10)?;
    // Its assignment is told to the group at once, before there is any file.
    until("a refusal", SOON, || {
        let mut other = scene.collector("other", &["--out", &b])?;
        let code = other.wait_for_end(Duration::from_secs(10)).ok();
        let refused = code.and_then(|status| status.code()) == Some(64);
        Ok((refused && other.output().contains("collects into another place")).then_some(()))
    })?;
    assert!(first.terminate()?.success(), "{}", first.output());
    let mut second = scene.collector("second", &["--out", &b, "--max-age", "1s"])?;
    until("the records, collected again", SOON, || {
        let found = read_data_set(&scene.folder().join("b"));
        Ok((found.map_or(0, |found| found.rows.len()) == 10).then_some(()))
    })?;
    assert!(second.terminate()?.success(), "{}", second.output());
    Ok(())
}

#[test]
fn what_was_mistyped_ends_the_start() -> Result<()> {
    let scene = Scene::new("co-typo", 1)?;
    // A folder that is there, and that nobody can write to.
    let flags = ["--topic", "labelled-events", "--out", "/proc"];
    let says = [" cannot be used: "];
    assert_ends(scene.collector("unwritable", &flags)?, 64, &says)?;
    let flags = ["--topic", "labelled-events", "--until-end"];
    let says = ["there is no topic labelled-events", "--topic"];
    assert_ends(scene.collector("typo", &flags)?, 64, &says)
}

#[test]
fn a_bounded_run_waits_for_the_store_of_claims() -> Result<()> {
    let scene = Scene::new("co-claims", 1)?;
    let (folder, value) = (scene.folder().join("claims"), labeled(1));
    fs::create_dir(&folder)?;
    // A link to itself: neither there nor missing.
    let object = folder.join("one.json");
    symlink(&object, &object)?;
    let digest: String = Sha256::digest(&value)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let claim = json!({"path": "one.json", "length": value.len(), "sha256": digest});
    let claim = json!({ "$claim": claim }).to_string();
    scene.send(&scene.names.labeled_events, &[(None, Some(&claim))])?;
    let (claims, schema) = (folder.display().to_string(), scene.labels_schema()?);
    let flags = ["--until-end", "--claims", &claims, "--out"];
    // The sample for the schema waits, or the file.
    for (out, more) in [("sampled", &[][..]), ("given", &["--schema", &schema])] {
        let place = scene.folder().join(out);
        let path = place.display().to_string();
        let mut collector = scene.collector(out, &[&flags[..], &[&path], more].concat())?;
        until("the wait for the store", SOON, || {
            let told = collector
                .output()
                .contains("the store of --claims does not answer");
            Ok(told.then_some(()))
        })?;
        assert_eq!(counter(&collector, "tidemill_store_failures_total")?, 0);
        fs::remove_file(&object)?;
        fs::write(&object, &value)?;
        let status = collector.wait_for_end(SOON)?;
        assert!(status.success(), "{}", collector.output());
        assert_eq!(read_data_set(&place)?.rows.len(), 1);
        assert_whole(&place)?;
        fs::remove_file(&object)?;
        symlink(&object, &object)?;
    }
    Ok(())
}

/// Processor time of a process so far, and how often its threads have gone to sleep: the latter is the same whatever else
/// runs on the machine.
fn busy(program: &Program) -> Result<(Duration, u64)> {
    let (mut time, mut sleeps) = (Duration::ZERO, 0);
    for thread in fs::read_dir(format!("/proc/{}/task", program.pid()))? {
        let thread = thread?.path();
        let run = fs::read_to_string(thread.join("schedstat"))?;
        let run = run.split(' ').next().context("no time")?;
        time += Duration::from_nanos(run.parse()?);
        let status = fs::read_to_string(thread.join("status"))?;
        let mut lines = status.lines();
        let own = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sleeps += own.context("no switches")?.trim().parse::<u64>()?;
    }
    Ok((time, sleeps))
}

/// The most wake-ups a second of an idle process with two workers. It has five clients, whose library asks the broker for
/// records ten times a second and keeps timers.
const WAKES: f64 = 90.0;

/// The columns of labeled events.
const SCHEMA: &str = r#"{"columns": [
    {"name": "transaction_id", "type": "string"}, {"name": "user_id", "type": "string"},
    {"name": "amount", "type": "double"}, {"name": "hour_of_day", "type": "int64"},
    {"name": "fraud_score", "type": "double"}, {"name": "label", "type": "bool"},
    {"name": "timestamp", "type": "timestamp"}]}"#;

/// As slow as records may be while no poll comes back without one.
const TRICKLE: Duration = Duration::from_millis(33);

/// The most records of a trickle in three files that are cut after a second each: 90 of them, and more where the machine
/// has others to run. A worker that looked at the clock every 256 records would take 768.
const TRICKLED: u64 = 500;

#[test]
fn files_come_while_records_trickle_and_waiting_costs_next_to_nothing() -> Result<()> {
    let scene = Scene::new("co-trickle", 1)?;
    let topic = &scene.names.labeled_events;
    // No schema can be learnt from these, however often they are read.
    let useless = format!("{{{} oops", "\"a\": 1, ".repeat(600));
    let useless: Vec<_> = (0..3_000).map(|_| (None, Some(useless.as_str()))).collect();
    scene.send(topic, &useless)?;
    let mut waiting = scene.collector("waiting", &["--max-age", "1s", "--workers", "2"])?;
    waiting.wait_ready()?;
    thread::sleep(Duration::from_secs(3));
    let (begun, before) = (Instant::now(), busy(&waiting)?);
    thread::sleep(Duration::from_secs(8));
    let (after, seconds) = (busy(&waiting)?, begun.elapsed().as_secs_f64());
    let share = (after.0 - before.0).as_secs_f64() / seconds;
    assert!(share < 0.01, "{:.1} % of a core while idle", share * 100.0);
    let wakes = (after.1 - before.1) as f64 / seconds;
    assert!(wakes < WAKES, "{wakes:.0} wake-ups a second while idle");
    assert!(waiting.terminate()?.success(), "{}", waiting.output());

    let schema = scene.folder().join("schema.json");
    fs::write(&schema, SCHEMA)?;
    let schema = schema.display().to_string();
    let flags = ["--max-age", "1s", "--schema", &schema];
    let mut collector = scene.collector("collector", &flags)?;
    let folder = scene.data_set();
    let files = || read_data_set(&folder).map_or(0, |found| found.files.len());
    until("what is there already", SOON, || {
        Ok((files() > 0).then_some(()))
    })?;
    let (before, producer) = (files(), Producer::open(&scene.brokers)?);
    let mut number = 0;
    while files() < before + 3 {
        assert!(number < TRICKLED, "{} files of them", files() - before);
        producer.send(topic, None, Some(labeled(number).as_bytes()), None)?;
        number += 1;
        thread::sleep(TRICKLE);
    }
    producer.flush()?;
    assert!(collector.terminate()?.success(), "{}", collector.output());
    assert_complete(&folder, &scene.read(topic)?)?;
    assert_whole(&folder)
}

/// More unusable records than the memory holds come before the first usable one: they hold nothing up, nothing is
/// written of them before there is a schema, and all of them are collected then.
#[test]
fn unusable_records_before_there_is_a_schema_hold_nothing_up() -> Result<()> {
    let scene = Scene::new("co-useless", 1)?;
    let topic = &scene.names.labeled_events;
    let useless = "oops".repeat(200_000);
    let useless: Vec<_> = (0..200).map(|_| (None, Some(useless.as_str()))).collect();
    scene.send(topic, &useless)?;
    let flags = ["--max-age", "1s", "--workers", "1", "--memory-mb", "152"];
    let mut collector = scene.collector("collector", &flags)?;
    let told = until("the warning", SOON, || {
        let output = collector.output();
        let told = output
            .lines()
            .find(|line| line.contains("too few usable records"));
        Ok(told.map(str::to_owned))
    })?;
    assert!(
        told.contains("not JSON") && told.contains("--schema"),
        "{told}"
    );
    assert_eq!(fs::read_dir(scene.data_set())?.count(), 0);
    send(&scene, 0..100)?;
    until("the usable records", SOON, || {
        Ok((rows(&scene) == 100).then_some(()))
    })?;
    assert!(collector.terminate()?.success(), "{}", collector.output());
    assert_complete(&scene.data_set(), &scene.read(topic)?)?;
    assert_whole(&scene.data_set())
}
