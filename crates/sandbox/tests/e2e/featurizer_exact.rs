//! Features stay exact, whatever is rebuilt, erased or sent again: users in several partitions, erasures in another
//! partition than the events, silent users behind a gap, and copies of rejected events.

use std::collections::HashMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sandbox::harness::{Program, Scene, until};
use sandbox::kafka::delete_before;
use serde_json::json;

use crate::SOON;

type Hash = HashMap<String, String>;

fn hash(scene: &Scene, user: &str) -> Result<Hash> {
    let key = scene.names.features_key(user);
    Ok(redis::cmd("HGETALL").arg(key).query(&mut scene.redis()?)?)
}

/// Waits until a field of a user's hash has a value.
fn until_field(scene: &Scene, user: &str, field: &str, value: &str) -> Result<Hash> {
    until(&format!("{field} {value} of {user}"), SOON, || {
        let hash = hash(scene, user)?;
        Ok((hash.get(field).is_some_and(|found| found == value)).then_some(hash))
    })
}

fn until_count(scene: &Scene, user: &str, count: &str) -> Result<Hash> {
    until_field(scene, user, "purchase_count_24h", count)
}

/// Sends purchases of a user, each in the partition of a key.
fn send(scene: &Scene, user: &str, keys: &[String]) -> Result<()> {
    let value = json!({"user_id": user, "amount": 1}).to_string();
    let records = keys.iter();
    let records: Vec<_> = records
        .map(|key| (Some(key.as_str()), Some(value.as_str())))
        .collect();
    scene.send(&scene.names.user_events, &records)
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("k{number}")).collect()
}

fn redis(scene: &Scene, command: &[&str]) -> Result<()> {
    let mut asked = redis::cmd(command[0]);
    for word in &command[1..] {
        asked.arg(*word);
    }
    Ok(asked.exec(&mut scene.redis()?)?)
}

/// Has `cause` done, and waits until the program says a text once more than before.
fn until_said(program: &Program, text: &str, cause: impl FnOnce() -> Result<()>) -> Result<()> {
    let said = || program.output().matches(text).count();
    let before = said();
    cause()?;
    until(text, SOON, || Ok((said() > before).then_some(())))
}

/// The remaining partitions of a scene's events, with their keys under the prefix.
fn key(scene: &Scene, kind: &str, partition: i32) -> String {
    let (prefix, topic) = (&scene.names.key_prefix, &scene.names.user_events);
    format!("{prefix}{kind}:{topic}:{partition}")
}

/// Users that were in several partitions count each event once, whatever causes the rebuild of one partition.
#[test]
fn an_automatic_rebuild_of_one_partition_counts_shared_users_once() -> Result<()> {
    for workers in ["1", "2"] {
        let scene = Scene::new("fz-once", 3)?;
        let mut featurizer = scene.featurizer("featurizer", &["--workers", workers])?;
        featurizer.wait_ready()?;
        for user in ["u", "v"] {
            send(&scene, user, &keys(30))?;
        }
        until_count(&scene, "u", "30")?;
        until_count(&scene, "v", "30")?;
        // A position that is lost, and a window that another program has spoilt.
        until_said(&featurizer, "no position is stored", || {
            redis(&scene, &["DEL", &key(&scene, "position", 1)])
        })?;
        featurizer.wait_ready()?;
        send(&scene, "u", &keys(1))?;
        until_count(&scene, "u", "31")?;
        let window = format!("{}window:v", scene.names.key_prefix);
        redis(&scene, &["SET", &window, "spoilt"])?;
        redis(&scene, &["DEL", &key(&scene, "position", 2)])?;
        send(&scene, "v", &keys(30))?;
        until_count(&scene, "v", "60")?;
        featurizer.wait_ready()?;
        assert_eq!(hash(&scene, "u")?["purchase_count_24h"], "31");
        assert_eq!(hash(&scene, "v")?["total_spend_24h"], "60");
        assert!(featurizer.terminate()?.success());
    }
    Ok(())
}

/// The window of a user whose records are gone from the log is spoilt: one rebuild, not one after the other.
#[test]
fn a_spoilt_window_of_a_user_whose_records_are_gone_is_rebuilt_once() -> Result<()> {
    let scene = Scene::new("fz-spoilt-gone", 1)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    send(&scene, "gone", &keys(3))?;
    until_count(&scene, "gone", "3")?;
    assert!(featurizer.terminate()?.success());
    delete_before(&scene.brokers, &scene.names.user_events, 0, 3)?;
    let window = format!("{}window:gone", scene.names.key_prefix);
    redis(&scene, &["SET", &window, "spoilt"])?;
    featurizer.start_again()?;
    until_said(&featurizer, "cannot be read", || {
        send(&scene, "gone", &keys(1))
    })?;
    until_count(&scene, "gone", "1")?;
    featurizer.wait_ready()?;
    send(&scene, "gone", &keys(1))?;
    until_count(&scene, "gone", "2")?;
    let said = featurizer.output();
    let rebuilt = "reason=a stored window cannot be read";
    assert_eq!(said.matches(rebuilt).count(), 1, "{said}");
    assert!(featurizer.terminate()?.success());
    Ok(())
}

/// Erased stays erased, in whatever order partitions are read, and what came later counts.
#[test]
fn an_erasure_in_another_partition_survives_a_rebuild() -> Result<()> {
    let scene = Scene::new("fz-erased", 4)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    featurizer.wait_ready()?;
    for user in ["u", "v"] {
        send(&scene, user, &vec![format!("of {user}"); 5])?;
        until_count(&scene, user, "5")?;
        // The keys of erasures are the users' ids, and lie elsewhere than the events for some.
        scene.send(&scene.names.user_events, &[(Some(user), None)])?;
        until("the hash to go", SOON, || {
            Ok(hash(&scene, user)?.is_empty().then_some(()))
        })?;
    }
    send(&scene, "v", &["of v".to_owned()])?;
    until_count(&scene, "v", "1")?;
    for _ in 0..2 {
        let mut rebuild = scene.featurizer("rebuild", &["rebuild"])?;
        assert!(rebuild.wait_for_end(SOON)?.success());
        until("the rebuild", SOON, || {
            let (status, _) = featurizer.page("/readyz")?;
            Ok((status == 503).then_some(()))
        })?;
        featurizer.wait_ready()?;
        assert!(hash(&scene, "u")?.is_empty());
        assert_eq!(hash(&scene, "v")?["purchase_count_24h"], "1");
    }
    let window = format!("{}window:u", scene.names.key_prefix);
    let left: bool = redis::cmd("EXISTS")
        .arg(window)
        .query(&mut scene.redis()?)?;
    assert!(!left);
    assert!(featurizer.terminate()?.success());
    Ok(())
}

/// Another program has overwritten the users' due times of all partitions, whoever owns them.
#[test]
fn spoilt_expiries_of_all_partitions_are_replaced_at_once() -> Result<()> {
    let scene = Scene::new("fz-expiries", 4)?;
    let workers = ["--workers", "2"];
    let mut processes = [
        scene.featurizer("one", &workers)?,
        scene.featurizer("two", &workers)?,
    ];
    for process in &mut processes {
        process.wait_ready()?;
    }
    send(&scene, "u", &keys(30))?;
    until_count(&scene, "u", "30")?;
    for partition in 0..4 {
        redis(&scene, &["SET", &key(&scene, "expiry", partition), "junk"])?;
    }
    send(&scene, "u", &keys(10))?;
    until_count(&scene, "u", "40")?;
    until("users that are due", SOON, || {
        let mut sets = 0;
        for partition in 0..4 {
            let kind: String = redis::cmd("TYPE")
                .arg(key(&scene, "expiry", partition))
                .query(&mut scene.redis()?)?;
            ensure!(
                matches!(kind.as_str(), "zset" | "none" | "string"),
                "{kind}"
            );
            sets += usize::from(kind != "string");
        }
        Ok((sets == 4).then_some(()))
    })?;
    for process in &mut processes {
        process.wait_ready()?;
        assert!(process.terminate()?.success());
    }
    Ok(())
}

/// Users that say nothing after the gap are told apart too, and a rebuild keeps them.
#[test]
fn silent_users_behind_a_gap_are_marked_and_survive_a_rebuild() -> Result<()> {
    let scene = Scene::new("fz-silent", 1)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    send(&scene, "silent", &keys(4))?;
    until_count(&scene, "silent", "4")?;
    featurizer.kill()?;
    send(&scene, "other", &keys(20))?;
    delete_before(&scene.brokers, &scene.names.user_events, 0, 10)?;
    featurizer.start_again()?;
    let marked = |scene: &Scene| -> Result<Hash> {
        until("the mark of a silent user", SOON, || {
            let hash = hash(scene, "silent")?;
            Ok(hash.contains_key("_complete_from").then_some(hash))
        })
    };
    assert_eq!(marked(&scene)?["purchase_count_24h"], "4");
    featurizer.wait_ready()?;
    until_said(&featurizer, "no position is stored", || {
        redis(&scene, &["DEL", &key(&scene, "position", 0)])
    })?;
    featurizer.wait_ready()?;
    // The log no longer has its events, and the hash says so.
    assert_eq!(marked(&scene)?["purchase_count_24h"], "0");
    assert!(featurizer.terminate()?.success());
    Ok(())
}

fn dead_letters(scene: &Scene, arguments: &[&str]) -> Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(["dead-letters", "--brokers", &scene.brokers])
        .args(arguments)
        .output()?;
    let text = String::from_utf8([output.stdout, output.stderr].concat())?;
    ensure!(output.status.success(), "{text}");
    Ok(text)
}

/// Definitions that need a number where records have a text, or not.
fn definitions(scene: &Scene, strict: bool) -> Result<String> {
    let count = "[[feature]]\nname = \"n_24h\"\naggregate = \"count\"\nwindow = \"24h\"\n";
    let level = "[[feature]]\nname = \"level\"\naggregate = \"last\"\nfield = \"level\"\nwindow = \"24h\"\n";
    let text = if strict {
        format!("{count}{level}")
    } else {
        count.to_owned()
    };
    let file = scene.folder().join(format!("strict-{strict}.toml"));
    std::fs::write(&file, text)?;
    Ok(file.to_str().context("a path that is text")?.to_owned())
}

/// Sent again, an event counts for those who had rejected it, once: over a rebuild, a second sending, a kill, a takeover
/// and a second group.
#[test]
fn a_rejected_event_that_is_sent_again_counts_once_for_each_group() -> Result<()> {
    let scene = Scene::new("fz-resent", 2)?;
    let topic = scene.names.user_events.clone();
    let (strict, plain) = (definitions(&scene, true)?, definitions(&scene, false)?);
    let mut first = scene.featurizer("first", &["--features", &strict])?;
    first.wait_ready()?;
    let bad = json!({"user_id": "u", "level": "gold"}).to_string();
    let good = json!({"user_id": "u", "level": 3}).to_string();
    scene.send(&topic, &[(Some("u"), Some(&bad)), (Some("u"), Some(&good))])?;
    until_field(&scene, "u", "n_24h", "1")?;
    // A second group with definitions of its own counts both.
    let other = format!("{}other:", scene.names.key_prefix);
    let flags = [
        "--features",
        &plain,
        "--group",
        "fz-resent-other",
        "--key-prefix",
        &other,
    ];
    let mut second = scene.featurizer("second", &flags)?;
    let count = |prefix: &str| -> Result<Option<String>> {
        let key = format!("{prefix}features:u");
        Ok(redis::cmd("HGET")
            .arg(key)
            .arg("n_24h")
            .query(&mut scene.redis()?)?)
    };
    until("both events in the second group", SOON, || {
        Ok((count(&other)?.as_deref() == Some("2")).then_some(()))
    })?;
    // A rebuild writes no second letter.
    until_said(&first, "no position is stored", || {
        let positions = [0, 1].map(|partition| key(&scene, "position", partition));
        redis(&scene, &["DEL", &positions[0], &positions[1]])
    })?;
    first.wait_ready()?;
    let letters = sandbox::harness::Names::dead_letters(&topic);
    assert_eq!(scene.read(&letters)?.len(), 1);
    // The copy is as unusable as the original: it counts for nobody, and has no letter of its own.
    dead_letters(&scene, &["--resend", "--yes", &topic])?;
    scene.send(&topic, &[(Some("u"), Some(&good))])?;
    until_field(&scene, "u", "n_24h", "2")?;
    until("the third event in the second group", SOON, || {
        Ok((count(&other)?.as_deref() == Some("3")).then_some(()))
    })?;
    assert_eq!(scene.read(&letters)?.len(), 1);
    // Taken over with other definitions, the original counts, and its copy does not.
    first.kill()?;
    let mut taker = scene.featurizer("taker", &["--features", &plain, "--takeover"])?;
    until_field(&scene, "u", "n_24h", "3")?;
    taker.wait_ready()?;
    for _ in 0..2 {
        scene.send(&topic, &[(Some("u"), Some(&good))])?;
    }
    until_field(&scene, "u", "n_24h", "5")?;
    until("all events in the second group", SOON, || {
        Ok((count(&other)?.as_deref() == Some("5")).then_some(()))
    })?;
    assert!(taker.terminate()?.success());
    assert!(second.terminate()?.success());
    Ok(())
}

/// Each prefix would get half of the partitions.
#[test]
fn a_member_of_a_group_that_writes_elsewhere_refuses_to_start() -> Result<()> {
    let scene = Scene::new("fz-elsewhere", 2)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    send(&scene, "u", &keys(4))?;
    until_count(&scene, "u", "4")?;
    featurizer.wait_ready()?;
    let prefix = format!("{}misdirected:", scene.names.key_prefix);
    until("its refusal", SOON, || {
        // The first commit follows within a second.
        let mut other = scene.featurizer("other", &["--key-prefix", &prefix])?;
        let ended = other.wait_for_end(SOON)?;
        assert_eq!(ended.code(), Some(64), "{}", other.output());
        let said = other.output();
        assert!(
            said.contains("--group") && said.contains("another place"),
            "{said}"
        );
        Ok(Some(()))
    })?;
    assert!(featurizer.terminate()?.success());
    Ok(())
}
