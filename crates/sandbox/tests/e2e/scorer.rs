//! The scorer's own promises: models swapped under load, a feature store that falls silent, predictions scored
//! again, groups moved, members that come and go.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use sandbox::harness::{Link, Program, Scene, until};
use sandbox::kafka::{Producer, Stored, delete_before};
use sandbox::stack::Stack;
use serde_json::Value;

use crate::SOON;

/// A model among the scorer's fixtures.
fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scorer/fixtures");
    folder.join(name).with_extension("onnx")
}

/// Puts a model with its manifest in the place of another, as a deployment would.
fn install(name: &str, at: &Path) -> Result<()> {
    for extension in ["toml", "onnx"] {
        let staged = at.with_extension("staged");
        fs::copy(fixture(name).with_extension(extension), &staged)?;
        fs::rename(&staged, at.with_extension(extension))?;
    }
    Ok(())
}

/// The header with a prediction's receipt.
pub(crate) fn receipt(prediction: &Stored) -> Result<Value> {
    let header = prediction
        .headers
        .iter()
        .find(|(name, _)| name == b"tidemill");
    let (_, text) = header.context("no receipt")?;
    Ok(serde_json::from_slice(text)?)
}

/// The names of the models that scored so far.
fn models(scene: &Scene) -> Result<HashSet<String>> {
    let predictions = scene.read(&scene.names.predictions)?;
    predictions
        .iter()
        .map(|prediction| Ok(receipt(prediction)?["model"].to_string()))
        .collect()
}

/// A counter of the scorer's, 0 while it is not there.
pub(crate) fn counter(scorer: &Program, name: &str) -> Result<u64> {
    let page = scorer.page("/metrics")?.1;
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.map_or(0, |value| value.parse().unwrap()))
}

/// Waits until a counter has grown by `more`.
pub(crate) fn grows(scorer: &Program, name: &str, more: u64) -> Result<()> {
    let before = counter(scorer, name)?;
    until(name, SOON, || {
        Ok((counter(scorer, name)? >= before + more).then_some(()))
    })
}

pub(crate) const PREDICTIONS: &str = "tidemill_predictions_total";

pub(crate) fn transaction(number: u64) -> String {
    format!(
        r#"{{"transaction_id":"t_{number}","user_id":"u_1","amount":{},"hour_of_day":{},"is_international":{},"merchant_risk_score":0.25}}"#,
        number % 300,
        number % 24,
        number % 2
    )
}

/// Sends so many transactions at once.
fn send(scene: &Scene, count: u64) -> Result<()> {
    let records: Vec<String> = (0..count).map(transaction).collect();
    let records: Vec<_> = records
        .iter()
        .map(|value| (None, Some(value.as_str())))
        .collect();
    scene.send(&scene.names.transactions, &records)
}

/// Sends transactions at a steady rate until stopped; returns how many.
fn traffic(scene: &Scene, stop: &AtomicBool) -> Result<u64> {
    let producer = Producer::open(&scene.brokers)?;
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..5 {
            let key = format!("t_{sent}");
            let value = transaction(sent);
            let topic = &scene.names.transactions;
            producer.send(topic, Some(key.as_bytes()), Some(value.as_bytes()), None)?;
            sent += 1;
        }
        // A pace, not a wait for anything.
        thread::sleep(Duration::from_millis(10));
    }
    producer.flush()?;
    Ok(sent)
}

/// Runs `during` while transactions keep coming; returns how many came.
pub(crate) fn under_traffic(scene: &Scene, during: impl FnOnce() -> Result<()>) -> Result<u64> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let sending = scope.spawn(|| traffic(scene, &stop));
        let outcome = during();
        stop.store(true, Ordering::Relaxed);
        let sent = sending
            .join()
            .map_err(|_| anyhow!("the traffic panicked"))?;
        outcome?;
        sent
    })
}

/// Waits for a prediction of each of the `sent` transactions.
fn all_scored(scene: &Scene, sent: u64) -> Result<Vec<Stored>> {
    until("a prediction of each transaction", SOON, || {
        let predictions = scene.read(&scene.names.predictions)?;
        Ok((predictions.len() as u64 >= sent).then_some(predictions))
    })
}

fn times_scored(predictions: &[Stored]) -> BTreeMap<&[u8], u64> {
    let mut times = BTreeMap::new();
    for prediction in predictions {
        *times
            .entry(prediction.key.as_deref().unwrap_or_default())
            .or_default() += 1;
    }
    times
}

pub(crate) fn assert_each_once(scene: &Scene, sent: u64) -> Result<()> {
    let predictions = all_scored(scene, sent)?;
    let times = times_scored(&predictions);
    let doubled = times.values().filter(|times| **times > 1).count();
    assert_eq!(
        (times.len() as u64, doubled),
        (sent, 0),
        "scored and doubled of {sent}"
    );
    Ok(())
}

/// Runs one of the scorer's subcommands to its end; its exit code and what it printed.
fn command(scene: &Scene, label: &str, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let names = &scene.names;
    let shared = [
        "--brokers",
        &scene.brokers,
        "--group",
        &names.scorer_group,
        "--output-topic",
        &names.predictions,
    ];
    let all: Vec<OsString> = arguments.iter().chain(&shared).map(Into::into).collect();
    let mut program = Program::start("scorer", label, scene.folder(), all)?;
    let status = program.wait_for_end(SOON)?;
    Ok((status.code(), program.output()))
}

#[test]
fn a_changed_model_is_swapped_in_under_load_and_a_bad_one_is_not() -> Result<()> {
    let scene = Scene::new("swap", 2)?;
    let model = scene.folder().join("live.onnx");
    install("lenient", &model)?;
    let mut scorer = scene.scorer("scorer", &["--model", model.to_str().unwrap()])?;
    scorer.wait_ready()?;
    let sent = under_traffic(&scene, || {
        grows(&scorer, PREDICTIONS, 100)?;
        fs::write(&model, "this is no model")?;
        grows(&scorer, "tidemill_models_refused_total", 1)?;
        grows(&scorer, PREDICTIONS, 100)?;
        assert_eq!(models(&scene)?.len(), 1, "the old model goes on");
        install("strict", &model)?;
        grows(&scorer, "tidemill_model_swaps_total", 1)?;
        grows(&scorer, PREDICTIONS, 100)
    })?;
    assert_eq!(models(&scene)?.len(), 2);
    assert_each_once(&scene, sent)?;
    assert!(scorer.terminate()?.success());
    Ok(())
}

#[test]
fn a_feature_store_that_falls_silent_costs_defaults_and_nothing_else() -> Result<()> {
    let mut scene = Scene::new("silence", 2)?;
    let server = Stack::own_redis()?;
    scene.redis_url = server.url();
    let key = scene.names.features_key("u_1");
    let hash = [("purchase_count_24h", "3"), ("total_spend_24h", "65.5")];
    let times = [("_as_of", "0"), ("_valid_until", "9999999999999")];
    for (field, value) in hash.iter().chain(&times) {
        redis::cmd("HSET")
            .arg(&key)
            .arg(field)
            .arg(value)
            .exec(&mut scene.redis()?)?;
    }
    let url = scene
        .redis_url
        .strip_prefix("redis://")
        .context("a plain Redis URL")?;
    let link = Link::to(url.trim_end_matches('/'))?;
    let url = format!("redis://127.0.0.1:{}", link.port());
    let model = fixture("history");
    let more = ["--model", model.to_str().unwrap(), "--redis-url", &url];
    let mut scorer = scene.scorer("scorer", &more)?;
    scorer.wait_ready()?;
    let inputs = |status| format!("tidemill_feature_inputs_total{{status=\"{status}\"}}");
    let sent = under_traffic(&scene, || {
        grows(&scorer, &inputs("ok"), 100)?;
        link.swallow_answers();
        grows(&scorer, &inputs("default"), 100)?;
        link.cut();
        grows(&scorer, &inputs("default"), 100)?;
        link.mend();
        grows(&scorer, &inputs("ok"), 100)?;
        // Stopped: it takes questions and never answers.
        server.pause()?;
        grows(&scorer, &inputs("default"), 100)?;
        server.resume()?;
        grows(&scorer, &inputs("ok"), 100)
    })?;
    assert_each_once(&scene, sent)?;
    for prediction in scene.read(&scene.names.predictions)? {
        let receipt = receipt(&prediction)?;
        let status = receipt["status"][4].as_str().context("no status")?;
        assert_eq!(receipt["status"][5], status, "a hash is read as a whole");
        let expected = if status == "ok" {
            [3.0, 65.5]
        } else {
            [0.0, 1.5]
        };
        let used = [4, 5].map(|column| receipt["inputs"][column].as_f64().unwrap());
        assert_eq!(used, expected, "{receipt}");
    }
    Ok(())
}

#[test]
fn a_burst_of_many_users_has_no_default_where_redis_is_well() -> Result<()> {
    const USERS: u64 = 20_000;
    let scene = Scene::new("burst", 2)?;
    let mut hashes = redis::pipe();
    for user in 0..USERS {
        let values = [("purchase_count_24h", "3"), ("total_spend_24h", "65.5")];
        let times = [("_as_of", "0"), ("_valid_until", "9999999999999")];
        let key = scene.names.features_key(&format!("u_{user}"));
        hashes.hset_multiple(key, &[values, times].concat());
    }
    hashes.exec(&mut scene.redis()?)?;
    let model = fixture("history");
    let mut scorer = scene.scorer("scorer", &["--model", model.to_str().unwrap()])?;
    scorer.wait_ready()?;
    let producer = Producer::open(&scene.brokers)?;
    for user in 0..USERS {
        let value = transaction(user).replace("u_1", &format!("u_{user}"));
        producer.send(
            &scene.names.transactions,
            None,
            Some(value.as_bytes()),
            None,
        )?;
    }
    producer.flush()?;
    all_scored(&scene, USERS)?;
    let inputs = |status| {
        let name = format!("tidemill_feature_inputs_total{{status=\"{status}\"}}");
        counter(&scorer, &name)
    };
    assert_eq!((inputs("ok")?, inputs("default")?), (2 * USERS, 0));
    assert!(scorer.terminate()?.success());
    Ok(())
}

#[test]
fn predictions_are_scored_again_from_their_receipts() -> Result<()> {
    let scene = Scene::new("replay", 2)?;
    let model = fixture("lenient");
    let mut scorer = scene.scorer("scorer", &["--model", model.to_str().unwrap()])?;
    scorer.wait_ready()?;
    let sent = under_traffic(&scene, || grows(&scorer, PREDICTIONS, 300))?;
    all_scored(&scene, sent)?;
    let same = ["replay", "--from", "0", "--model", model.to_str().unwrap()];
    let (code, told) = command(&scene, "same", &same)?;
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains(&format!("{sent} ({sent} made by this model)")),
        "{told}"
    );
    assert!(told.contains("differing 0"), "{told}");
    let other = fixture("strict");
    let other = ["replay", "--from", "0", "--model", other.to_str().unwrap()];
    let (code, told) = command(&scene, "other", &other)?;
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains(&format!("compared         {sent} (0 made by this model)")),
        "{told}"
    );
    assert!(
        told.contains(&format!("differing {sent}")),
        "every score differs: {told}"
    );
    let nothing = [
        (
            ["--from", "2100-01-01", "--to", "2100-01-02"],
            "lies behind the newest prediction",
        ),
        (
            ["--from", "1970-01-02", "--to", "1970-01-03"],
            "nothing to compare",
        ),
    ];
    for (stretch, expected) in nothing {
        let arguments = ["replay", "--model", model.to_str().unwrap()];
        let arguments = [&arguments[..], &stretch].concat();
        let (code, told) = command(&scene, "nothing", &arguments)?;
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains(expected), "{told}");
    }
    assert!(!told.contains("retention"), "{told}");
    delete_before(&scene.brokers, &scene.names.predictions, 1, 10)?;
    let (code, told) = command(&scene, "cut", &same)?;
    assert_eq!(code, Some(0), "{told}");
    let said = "retention has deleted the oldest predictions in partitions 1, some of them perhaps since --from";
    assert!(told.contains(said), "{told}");
    let absent = ["replay", "--from", "0", "--model", "absent.onnx"];
    let (code, told) = command(&scene, "absent", &absent)?;
    assert_eq!(code, Some(64), "{told}");
    assert!(told.contains("absent.onnx"), "{told}");
    Ok(())
}

#[test]
fn members_that_come_and_go_leave_each_transaction_scored_once() -> Result<()> {
    let scene = Scene::new("members", 4)?;
    let one = ["--workers", "1"];
    let mut first = scene.scorer("first", &one)?;
    first.wait_ready()?;
    let sent = under_traffic(&scene, || {
        for round in 0..3 {
            let mut second = scene.scorer(&format!("second-{round}"), &one)?;
            let mut third = scene.scorer(&format!("third-{round}"), &["--workers", "2"])?;
            second.wait_ready()?;
            third.wait_ready()?;
            second.kill()?;
            assert!(third.terminate()?.success());
        }
        Ok(())
    })?;
    assert_each_once(&scene, sent)?;
    assert!(first.terminate()?.success());
    Ok(())
}

#[test]
fn at_least_once_loses_nothing_when_killed() -> Result<()> {
    let scene = Scene::new("at-least-once", 2)?;
    let mut scorer = scene.scorer("scorer", &["--delivery", "at-least-once"])?;
    scorer.wait_ready()?;
    let sent = under_traffic(&scene, || {
        for _ in 0..3 {
            grows(&scorer, PREDICTIONS, 100)?;
            scorer.kill()?;
            scorer.start_again()?;
            scorer.wait_ready()?;
        }
        Ok(())
    })?;
    until("every transaction to be scored", SOON, || {
        let predictions = scene.read(&scene.names.predictions)?;
        Ok((times_scored(&predictions).len() as u64 == sent).then_some(()))
    })
}

#[test]
fn a_group_is_moved_while_it_has_no_members_and_only_then() -> Result<()> {
    let scene = Scene::new("reset", 2)?;
    let mut scorer = scene.scorer("scorer", &[])?;
    scorer.wait_ready()?;
    send(&scene, 50)?;
    all_scored(&scene, 50)?;
    let model = scene.model()?;
    let topic = &scene.names.transactions;
    let reset = [
        "--reset", "--yes", "--start", "earliest", "--topic", topic, "--model",
    ];
    let reset: Vec<&str> = reset.into_iter().chain(model.to_str()).collect();
    let (code, told) = command(&scene, "refused", &reset)?;
    assert_eq!(code, Some(64), "{told}");
    assert!(told.contains("while it has members"), "{told}");
    assert!(scorer.terminate()?.success());
    // Now it is moved, and the moved group scores everything a second time.
    let mut again = scene.scorer("again", &["--reset", "--yes"])?;
    again.wait_ready()?;
    let predictions = all_scored(&scene, 100)?;
    assert_eq!(predictions.len(), 100);
    assert!(
        again.output().contains("partition 0: "),
        "from and to are shown"
    );
    Ok(())
}

#[test]
fn what_retention_has_deleted_is_said_and_the_rest_is_scored() -> Result<()> {
    let scene = Scene::new("retention", 1)?;
    let mut scorer = scene.scorer("scorer", &[])?;
    scorer.wait_ready()?;
    assert!(scorer.terminate()?.success());
    send(&scene, 50)?;
    delete_before(&scene.brokers, &scene.names.transactions, 0, 20)?;
    scorer.start_again()?;
    let predictions = all_scored(&scene, 30)?;
    let first = receipt(&predictions[0])?;
    assert_eq!(
        (predictions.len(), first["offset"].as_i64()),
        (30, Some(20))
    );
    let lost = "tidemill_lost_records_total";
    assert_eq!(counter(&scorer, lost)?, 20);
    assert!(scorer.terminate()?.success());
    scorer.start_again()?;
    scorer.wait_ready()?;
    assert_eq!(counter(&scorer, lost)?, 0, "counted once");
    assert!(scorer.terminate()?.success());
    Ok(())
}
