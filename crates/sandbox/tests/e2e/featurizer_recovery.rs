//! Windows that a featurizer builds again: after retention, for partitions that share users, and over what others have left.

use std::collections::HashMap;

use anyhow::Result;
use sandbox::harness::{Program, Scene, until};
use sandbox::kafka::{create_topics, delete_before, make_anew};
use sandbox::simulate::now_ms;
use serde_json::json;

use crate::SOON;

type Hash = HashMap<String, String>;

fn hash(scene: &Scene, user: &str) -> Result<Hash> {
    let key = scene.names.features_key(user);
    Ok(redis::cmd("HGETALL").arg(key).query(&mut scene.redis()?)?)
}

fn until_count(scene: &Scene, user: &str, count: &str) -> Result<Hash> {
    until(&format!("{count} purchases of {user}"), SOON, || {
        let hash = hash(scene, user)?;
        let there = hash
            .get("purchase_count_24h")
            .is_some_and(|found| found == count);
        Ok(there.then_some(hash))
    })
}

/// Sends events of a user, each in the partition of a key.
fn send(scene: &Scene, user: &str, keys: &[&str]) -> Result<()> {
    let value = json!({"user_id": user, "amount": 1}).to_string();
    let records: Vec<_> = keys
        .iter()
        .map(|key| (Some(*key), Some(value.as_str())))
        .collect();
    scene.send(&scene.names.user_events, &records)
}

fn counter(program: &Program, name: &str) -> Result<u64> {
    let (_, metrics) = program.page("/metrics")?;
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    Ok(lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum())
}

#[test]
fn what_retention_has_deleted_is_counted_and_marked() -> Result<()> {
    let scene = Scene::new("fz-retention", 1)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    send(&scene, "u", &["k"; 10])?;
    until_count(&scene, "u", "10")?;
    featurizer.kill()?;
    let before_ms = now_ms();
    send(&scene, "u", &["k"; 20])?;
    delete_before(&scene.brokers, &scene.names.user_events, 0, 25)?;
    featurizer.start_again()?;
    // 10 before the gap, and the last 5 of the other 20.
    let hash = until_count(&scene, "u", "15")?;
    let complete_from: i64 = hash["_complete_from"].parse()?;
    assert!(complete_from >= before_ms, "{hash:?}");
    assert_eq!(counter(&featurizer, "tidemill_lost_records_total")?, 15);
    assert!(
        featurizer.output().contains("lost=15"),
        "{}",
        featurizer.output()
    );
    assert!(featurizer.terminate()?.success());
    Ok(())
}

/// Sends, before the topic is made anew and after it, more records the second time: so the position lies inside of
/// the new log.
fn made_anew(running: bool) -> Result<()> {
    let scene = Scene::new("fz-anew", 1)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    send(&scene, "u", &["k"; 10])?;
    send(&scene, "gone", &["k"])?;
    until_count(&scene, "gone", "1")?;
    if !running {
        featurizer.kill()?;
    }
    make_anew(&scene.brokers, &scene.names.user_events, 1)?;
    send(&scene, "u", &["k"; 20])?;
    if !running {
        featurizer.start_again()?;
    }
    until_count(&scene, "u", "20")?;
    until("the user of the old topic to go", SOON, || {
        Ok(hash(&scene, "gone")?.is_empty().then_some(()))
    })?;
    send(&scene, "u", &["k"])?;
    until_count(&scene, "u", "21")?;
    assert!(featurizer.terminate()?.success());
    Ok(())
}

#[test]
fn a_topic_that_was_made_anew_meanwhile_is_noticed() -> Result<()> {
    made_anew(false)
}

#[test]
fn a_topic_that_is_made_anew_under_a_running_featurizer_is_noticed() -> Result<()> {
    made_anew(true)
}

/// Users of partitions that the new topic does not have are gone, and so is everything that was kept of these.
fn made_anew_with_fewer_partitions(running: bool) -> Result<()> {
    let scene = Scene::new("fz-fewer", 4)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    let users: Vec<String> = (0..40).map(|number| format!("u{number}")).collect();
    for user in &users {
        send(&scene, user, &[user.as_str(); 2])?;
    }
    for user in &users {
        until_count(&scene, user, "2")?;
    }
    if !running {
        featurizer.kill()?;
    }
    make_anew(&scene.brokers, &scene.names.user_events, 2)?;
    let (back, gone) = users.split_at(10);
    for user in back {
        send(&scene, user, &[user.as_str(); 3])?;
    }
    if !running {
        featurizer.start_again()?;
    }
    for user in back {
        until_count(&scene, user, "3")?;
    }
    for user in gone {
        until("the users of the old topic to go", SOON, || {
            Ok(hash(&scene, user)?.is_empty().then_some(()))
        })?;
    }
    let mut redis = scene.redis()?;
    let topic = &scene.names.user_events;
    until("nothing to be left of the old partitions", SOON, || {
        let of = |kind: &str| {
            redis::cmd("KEYS")
                .arg(format!("*{kind}:{topic}:[23]"))
                .to_owned()
        };
        let mut left: Vec<String> = of("position").query(&mut redis)?;
        left.extend(of("expiry").query::<Vec<String>>(&mut redis)?);
        Ok(left.is_empty().then_some(()))
    })?;
    featurizer.wait_ready()?;
    for user in back {
        send(&scene, user, &[user])?;
        until_count(&scene, user, "4")?;
    }
    assert!(featurizer.terminate()?.success());
    Ok(())
}

#[test]
fn a_topic_that_was_made_anew_with_fewer_partitions_leaves_no_user_behind() -> Result<()> {
    made_anew_with_fewer_partitions(false)
}

#[test]
fn a_topic_that_is_made_anew_with_fewer_partitions_does_not_hold_up_the_others() -> Result<()> {
    made_anew_with_fewer_partitions(true)
}

#[test]
fn a_window_that_another_program_has_spoilt_is_built_anew() -> Result<()> {
    let scene = Scene::new("fz-spoilt", 1)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    send(&scene, "u", &["k"; 10])?;
    until_count(&scene, "u", "10")?;
    featurizer.kill()?;
    redis::cmd("SETRANGE")
        .arg(format!("{}window:u", scene.names.key_prefix))
        .arg(0)
        .arg("spoilt")
        .exec(&mut scene.redis()?)?;
    featurizer.start_again()?;
    send(&scene, "u", &["k"])?;
    until_count(&scene, "u", "11")?;
    assert!(
        featurizer
            .output()
            .contains("a stored window cannot be read"),
        "{}",
        featurizer.output()
    );
    assert!(featurizer.terminate()?.success());
    Ok(())
}

#[test]
fn partitions_that_share_users_are_built_anew_together() -> Result<()> {
    let scene = Scene::new("fz-shared", 3)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    featurizer.wait_ready()?;
    let keys: Vec<String> = (0..30).map(|number| format!("k{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    send(&scene, "u", &keys)?;
    until_count(&scene, "u", "30")?;
    let mut rebuild = scene.featurizer("rebuild", &["rebuild", "--partition", "1"])?;
    assert!(
        rebuild.wait_for_end(SOON)?.success(),
        "{}",
        rebuild.output()
    );
    for partition in 0..3 {
        let line = format!("partition {partition} of ");
        assert!(rebuild.output().contains(&line), "{}", rebuild.output());
    }
    until("the rebuild to be noticed", SOON, || {
        Ok(featurizer
            .output()
            .contains("building windows")
            .then_some(()))
    })?;
    featurizer.wait_ready()?;
    send(&scene, "u", &["k0"])?;
    until_count(&scene, "u", "31")?;
    assert!(featurizer.terminate()?.success());
    Ok(())
}

#[test]
fn fields_of_other_definitions_go_with_a_takeover() -> Result<()> {
    let scene = Scene::new("fz-fields", 1)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    send(&scene, "u", &["u"])?;
    until_count(&scene, "u", "1")?;
    assert!(featurizer.terminate()?.success());
    let file = scene.folder().join("features.toml");
    let definitions = "[[feature]]\nname = \"events_1h\"\naggregate = \"count\"\nwindow = \"1h\"\n";
    std::fs::write(&file, definitions)?;
    let arguments = ["--takeover", "--features", file.to_str().unwrap()];
    let mut featurizer = scene.featurizer("taker", &arguments)?;
    let hash = until("the new feature", SOON, || {
        let hash = hash(&scene, "u")?;
        Ok(hash.contains_key("events_1h").then_some(hash))
    })?;
    assert!(!hash.contains_key("purchase_count_24h"), "{hash:?}");
    assert!(featurizer.terminate()?.success());
    Ok(())
}

/// Windows are by user, and positions by topic: those of the first topic mean nothing once the second has been kept.
#[test]
fn a_topic_that_is_taken_over_and_back_is_built_anew() -> Result<()> {
    let mut scene = Scene::new("fz-back", 2)?;
    let first = scene.names.user_events.clone();
    let second = format!("{first}-second");
    create_topics(&scene.brokers, &[&second], 2)?;
    let kept = |scene: &Scene, user: &str, count: Option<&str>| {
        until(&format!("{user} to have {count:?}"), SOON, || {
            let hash = hash(scene, user)?;
            let found = hash.get("purchase_count_24h").map(String::as_str);
            Ok((found == count).then_some(()))
        })
    };
    let mut featurizer = scene.featurizer("first", &[])?;
    send(&scene, "both", &["both"; 2])?;
    send(&scene, "one", &["one"])?;
    kept(&scene, "both", Some("2"))?;
    kept(&scene, "one", Some("1"))?;
    assert!(featurizer.terminate()?.success());
    scene.names.user_events = second;
    send(&scene, "both", &["both"])?;
    send(&scene, "other", &["other"])?;
    let mut featurizer = scene.featurizer("second", &["--takeover"])?;
    kept(&scene, "both", Some("1"))?;
    kept(&scene, "other", Some("1"))?;
    kept(&scene, "one", None)?;
    assert!(featurizer.terminate()?.success());
    scene.names.user_events = first;
    let mut featurizer = scene.featurizer("back", &["--takeover"])?;
    kept(&scene, "both", Some("2"))?;
    kept(&scene, "one", Some("1"))?;
    kept(&scene, "other", None)?;
    assert!(featurizer.terminate()?.success());
    Ok(())
}

#[test]
fn a_user_whom_other_definitions_have_left_begins_anew() -> Result<()> {
    let scene = Scene::new("fz-left", 1)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    send(&scene, "left", &["k"; 3])?;
    until_count(&scene, "left", "3")?;
    assert!(featurizer.terminate()?.success());
    // Of what is built anew the log says nothing of this user.
    delete_before(&scene.brokers, &scene.names.user_events, 0, 3)?;
    send(&scene, "other", &["k"])?;
    let file = scene.folder().join("features.toml");
    let definitions = "[[feature]]\nname = \"events_1h\"\naggregate = \"count\"\nwindow = \"1h\"\n";
    std::fs::write(&file, definitions)?;
    let arguments = ["--takeover", "--features", file.to_str().unwrap()];
    let mut featurizer = scene.featurizer("taker", &arguments)?;
    until("the new feature", SOON, || {
        let hash = hash(&scene, "other")?;
        Ok(hash.contains_key("events_1h").then_some(()))
    })?;
    featurizer.wait_ready()?;
    send(&scene, "left", &["k"])?;
    until("the user to begin anew", SOON, || {
        let hash = hash(&scene, "left")?;
        Ok(hash
            .get("events_1h")
            .is_some_and(|count| count == "1")
            .then_some(()))
    })?;
    let said = featurizer.output();
    assert_eq!(said.matches("building windows").count(), 1, "{said}");
    assert!(featurizer.terminate()?.success());
    Ok(())
}
