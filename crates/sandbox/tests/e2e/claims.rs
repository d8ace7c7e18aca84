//! Values that stand for larger objects: resolved by all three programs, refused where they are not what they claim,
//! and waited for where their store is away.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use sandbox::harness::{Names, Scene, until};
use sandbox::oracle::read_data_set;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::SOON;
use crate::unusable::{assert_dead_letters, rejects};

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn claim(path: &str, length: usize, sha256: &str) -> String {
    json!({"$claim": {"path": path, "length": length, "sha256": sha256}}).to_string()
}

/// Puts an object into the folder and returns the claim for it.
fn put(folder: &Path, path: &str, object: &[u8]) -> Result<String> {
    let file = folder.join(path);
    fs::create_dir_all(file.parent().context("a file in a folder")?)?;
    fs::write(file, object)?;
    Ok(claim(path, object.len(), &sha256(object)))
}

/// An event of each kind of the three topics, padded to `bytes`.
fn value(topic: &str, id: &str, bytes: usize) -> String {
    let more = "x".repeat(bytes);
    match topic.split('-').next() {
        Some("user") => json!({"user_id": id, "amount": 2.5, "more": more}),
        Some("transactions") => json!({"transaction_id": id, "amount": 1, "hour_of_day": 1,
            "is_international": 0, "merchant_risk_score": 0.1, "more": more}),
        _ => json!({"transaction_id": id, "label": 1, "more": more}),
    }
    .to_string()
}

/// Sends claims of every kind among ordinary records; returns those that cannot be used with their reasons.
fn send_all(scene: &Scene, topic: &str, folder: &Path) -> Result<Vec<(&'static str, String)>> {
    let whole = value(topic, "claimed", 900_000);
    let good = put(folder, &format!("{topic}/whole.json"), whole.as_bytes())?;
    let huge = value(topic, "huge", 1_200_000);
    let unusable = vec![
        (
            "claim_too_large",
            put(folder, &format!("{topic}/huge"), huge.as_bytes())?,
        ),
        ("claim_missing", claim("no/such", 3, &sha256(b"abc"))),
        ("claim_tampered", {
            let claim = put(folder, &format!("{topic}/changed"), b"{\"user_id\":\"x\"}")?;
            fs::write(folder.join(topic).join("changed"), b"{\"user_id\":\"y\"}")?;
            claim
        }),
        (
            "claim_tampered",
            claim(&format!("{topic}/whole.json"), 7, &sha256(whole.as_bytes())),
        ),
        (
            "claim_invalid",
            claim("../outside.json", whole.len(), &sha256(whole.as_bytes())),
        ),
        ("claim_invalid", claim("/etc/hostname", 1, &sha256(b"x"))),
        (
            "claim_invalid",
            claim("file:///etc/hostname", 1, &sha256(b"x")),
        ),
        ("claim_invalid", r#"{"$claim":"no object"}"#.to_owned()),
        (
            "invalid_json",
            put(folder, &format!("{topic}/cut"), b"{\"user_id\":")?,
        ),
    ];
    fs::write(folder.join("../outside.json"), &whole)?;
    let (first, last) = (value(topic, "first", 0), value(topic, "last", 0));
    let mut records = vec![
        (Some("k"), Some(first.as_str())),
        (Some("k"), Some(good.as_str())),
    ];
    records.extend(
        unusable
            .iter()
            .map(|(_, value)| (Some("k"), Some(value.as_str()))),
    );
    records.push((Some("k"), Some(&last)));
    scene.send(topic, &records)?;
    Ok(unusable)
}

fn borrowed<'a>(all: &'a [(&'static str, String)]) -> Vec<(&'static str, Option<&'a str>)> {
    let all = all.iter();
    all.map(|(reason, value)| (*reason, Some(value.as_str())))
        .collect()
}

fn count(scene: &Scene, user: &str) -> Result<Option<String>> {
    let key = scene.names.features_key(user);
    let mut redis = scene.redis()?;
    Ok(redis::cmd("HGET")
        .arg(key)
        .arg("purchase_count_24h")
        .query(&mut redis)?)
}

fn predicted(scene: &Scene) -> Result<Vec<String>> {
    let predictions = scene.read(&scene.names.predictions)?;
    let id = |value: &Value| {
        value["transaction_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    predictions
        .iter()
        .map(|found| Ok(id(&found.json()?)))
        .collect()
}

fn collected(scene: &Scene) -> Result<Vec<String>> {
    let rows = read_data_set(&scene.data_set())?.rows;
    let id = |row: &Value| {
        row["transaction_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    Ok(rows.values().map(|row| id(&json!(row))).collect())
}

#[test]
fn claims_are_resolved_or_set_aside_with_their_reason() -> Result<()> {
    let scene = Scene::new("claims", 1)?;
    let folder = scene.folder().join("claims");
    fs::create_dir(&folder)?;
    let place = folder.to_str().context("a path in UTF-8")?;
    let flags = ["--claims", place, "--max-claim-mb", "1"];
    let names = &scene.names;
    let unusable = send_all(&scene, &names.user_events, &folder)?;
    let mut featurizer = scene.featurizer("featurizer", &flags)?;
    assert_dead_letters(&scene, &names.user_events, &borrowed(&unusable))?;
    until("the features of the claimed user", SOON, || {
        let all = count(&scene, "claimed")?.is_some() && count(&scene, "last")?.is_some();
        Ok(all.then_some(()))
    })?;
    let told = featurizer.page("/metrics")?.1;
    assert!(
        told.contains("tidemill_claims_total{result=\"resolved\"}"),
        "{told}"
    );
    assert!(featurizer.terminate()?.success());

    let unusable = send_all(&scene, &names.transactions, &folder)?;
    let mut scorer = scene.scorer("scorer", &flags)?;
    assert_dead_letters(&scene, &names.transactions, &borrowed(&unusable))?;
    assert_eq!(predicted(&scene)?, ["first", "claimed", "last"]);
    assert!(scorer.terminate()?.success());

    let unusable = send_all(&scene, &names.labeled_events, &folder)?;
    let bounded = [&flags[..], &["--until-end"]].concat();
    let mut collector = scene.collector("collector", &bounded)?;
    assert!(
        collector.wait_for_end(SOON)?.success(),
        "{}",
        collector.output()
    );
    assert_eq!(collected(&scene)?, ["first", "claimed", "last"]);
    let lines = rejects(&scene)?;
    let reasons: Vec<_> = lines
        .iter()
        .map(|line| line["reason"].as_str().unwrap())
        .collect();
    let expected: Vec<_> = unusable.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(reasons, expected);
    // The same again elsewhere, byte by byte.
    let other = scene.folder().join("other");
    let out = [&bounded[..], &["--out", other.to_str().unwrap()]].concat();
    assert!(
        scene
            .collector("again", &out)?
            .wait_for_end(SOON)?
            .success()
    );
    for file in fs::read_dir(scene.data_set())? {
        let file = file?;
        if file.file_type()?.is_file() {
            assert_eq!(
                fs::read(file.path())?,
                fs::read(other.join(file.file_name()))?
            );
        }
    }
    Ok(())
}

#[test]
fn without_a_place_for_objects_claims_are_set_aside() -> Result<()> {
    let scene = Scene::new("no-claims", 1)?;
    let names = &scene.names;
    let claim = claim("a", 1, &sha256(b"a"));
    for topic in [
        &names.user_events,
        &names.transactions,
        &names.labeled_events,
    ] {
        let ordinary = value(topic, "ordinary", 0);
        scene.send(topic, &[(None, Some(&claim)), (None, Some(&ordinary))])?;
    }
    let expected = [("claim_not_configured", Some(claim.as_str()))];
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    let mut scorer = scene.scorer("scorer", &[])?;
    assert_dead_letters(&scene, &names.user_events, &expected)?;
    assert_dead_letters(&scene, &names.transactions, &expected)?;
    let letters = scene.read(&Names::dead_letters(&names.transactions))?;
    assert!(
        letters[0]
            .header("error")
            .is_some_and(|error| error.contains("--claims"))
    );
    assert!(featurizer.terminate()?.success() && scorer.terminate()?.success());
    let mut collector = scene.collector("collector", &["--until-end"])?;
    assert!(collector.wait_for_end(SOON)?.success());
    assert_eq!(collected(&scene)?, ["ordinary"]);
    assert_eq!(rejects(&scene)?[0]["reason"], "claim_not_configured");
    let mut wrong = scene.collector("wrong", &["--claims", "/no/such/folder"])?;
    assert_eq!(wrong.wait_for_end(SOON)?.code(), Some(64));
    assert!(wrong.output().contains("--claims \"/no/such/folder\""));
    Ok(())
}

/// One key for each of two partitions.
fn keys(scene: &Scene, topic: &str) -> Result<[String; 2]> {
    let all: Vec<String> = (0..8).map(|number| format!("probe{number}")).collect();
    for key in &all {
        scene.send(topic, &[(Some(key), Some(&value(topic, key, 0)))])?;
    }
    let log = scene.read(topic)?;
    let places: HashMap<i32, String> = log
        .into_iter()
        .filter_map(|record| Some((record.partition, String::from_utf8(record.key?).ok()?)))
        .collect();
    let key = |partition| {
        places
            .get(&partition)
            .cloned()
            .context("keys of one partition only")
    };
    Ok([key(0)?, key(1)?])
}

#[test]
fn a_store_that_is_away_holds_up_its_partition_and_nothing_else() -> Result<()> {
    let scene = Scene::new("claims-away", 2)?;
    let names = &scene.names;
    let (folder, away) = (scene.folder().join("claims"), scene.folder().join("away"));
    fs::create_dir(&folder)?;
    let flags = ["--claims", folder.to_str().unwrap(), "--workers", "1"];
    let mut claims = HashMap::new();
    let mut key_of = HashMap::new();
    for topic in [
        &names.user_events,
        &names.transactions,
        &names.labeled_events,
    ] {
        let object = value(topic, "claimed", 10);
        claims.insert(
            topic,
            put(&folder, &format!("{topic}.json"), object.as_bytes())?,
        );
        key_of.insert(topic, keys(&scene, topic)?);
    }
    let mut featurizer = scene.featurizer("featurizer", &flags)?;
    let mut scorer = scene.scorer("scorer", &flags)?;
    let live = [&flags[..], &["--max-age", "500ms"]].concat();
    let mut collector = scene.collector("collector", &live)?;
    for program in [&mut featurizer, &mut scorer, &mut collector] {
        program.wait_ready()?;
    }
    fs::rename(&folder, &away)?;
    for (topic, [held, other]) in &key_of {
        let (behind, beside) = (value(topic, "behind", 0), value(topic, "beside", 0));
        let held = Some(held.as_str());
        scene.send(
            topic,
            &[(held, Some(&claims[topic])), (held, Some(&behind))],
        )?;
        scene.send(topic, &[(Some(other), Some(&beside))])?;
    }
    // The claims are met, more than once, and what lies beside them is done.
    for program in [&featurizer, &scorer, &collector] {
        until("the wait for the store", SOON, || {
            let page = program.page("/metrics")?.1;
            let line = page
                .lines()
                .find(|line| line.contains("result=\"unavailable\""));
            let times = line.and_then(|line| line.rsplit(' ').next()?.parse::<u32>().ok());
            Ok((times >= Some(2)).then_some(()))
        })?;
        let (status, reasons) = program.page("/readyz")?;
        assert_eq!(status, 503);
        assert!(reasons.contains("the store of --claims"), "{reasons}");
    }
    until("the records of the other partition", SOON, || {
        let done = count(&scene, "beside")?.is_some()
            && predicted(&scene)?.contains(&"beside".into())
            && collected(&scene)?.contains(&"beside".into());
        Ok(done.then_some(()))
    })?;
    assert_eq!(
        (count(&scene, "claimed")?, count(&scene, "behind")?),
        (None, None)
    );
    assert!(!predicted(&scene)?.contains(&"behind".into()));
    assert!(!collected(&scene)?.contains(&"behind".into()));
    fs::rename(&away, &folder)?;
    until("what the store held up", SOON, || {
        let users = count(&scene, "claimed")?.is_some() && count(&scene, "behind")?.is_some();
        let all = |ids: Vec<String>| {
            ["claimed", "behind"]
                .iter()
                .all(|id| ids.iter().any(|own| own == id))
        };
        Ok((users && all(predicted(&scene)?) && all(collected(&scene)?)).then_some(()))
    })?;
    for program in [&mut featurizer, &mut scorer, &mut collector] {
        program.wait_ready()?;
    }
    // Eight probes, and each of the three once.
    assert_eq!(predicted(&scene)?.len(), 11);
    assert_eq!(count(&scene, "claimed")?.as_deref(), Some("1"));
    for program in [&mut featurizer, &mut scorer, &mut collector] {
        assert!(program.terminate()?.success());
    }
    assert_eq!(collected(&scene)?.len(), 11);
    for topic in [&names.user_events, &names.transactions] {
        assert!(scene.read(&Names::dead_letters(topic))?.is_empty());
    }
    Ok(())
}

#[test]
fn produce_makes_claims_of_files_and_of_large_values() -> Result<()> {
    let scene = Scene::new("claims-made", 1)?;
    let topic = &scene.names.user_events;
    let (small, large) = (value(topic, "small", 0), value(topic, "large", 2_000));
    fs::write(scene.folder().join("event.json"), &small)?;
    let produce = |arguments: &[&str]| -> Result<()> {
        let output = Command::new(env!("CARGO_BIN_EXE_sandbox"))
            .args(
                [
                    &[
                        "produce",
                        topic,
                        "--claims",
                        "claims",
                        "--claim-above",
                        "1000",
                    ][..],
                    arguments,
                ]
                .concat(),
            )
            .env("KAFKA_BROKERS", &scene.brokers)
            .current_dir(scene.folder())
            .output()?;
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    };
    produce(&["--key", "small", "--claim", "event.json"])?;
    produce(&["--key-field", "user_id", &large])?;
    produce(&[&value(topic, "plain", 0)])?;
    let log = scene.read(topic)?;
    assert_eq!(log[0].json()?["$claim"]["length"], json!(small.len()));
    assert_eq!(log[1].key.as_deref(), Some(b"large".as_slice()));
    assert_eq!(
        log[1].json()?["$claim"]["sha256"],
        json!(sha256(large.as_bytes()))
    );
    assert_eq!(log[2].json()?["user_id"], "plain");
    let mut featurizer = scene.featurizer("featurizer", &["--claims", "claims"])?;
    for user in ["small", "large", "plain"] {
        until("the user's features", SOON, || {
            Ok((count(&scene, user)?.as_deref() == Some("1")).then_some(()))
        })?;
    }
    assert!(featurizer.terminate()?.success());
    Ok(())
}
