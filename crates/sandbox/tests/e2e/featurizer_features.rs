//! The features that a featurizer keeps: definitions of one's own, decay, erasure, users that move, exactness, and whose prefix it is.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::Result;
use sandbox::harness::{Scene, until};
use sandbox::simulate::now_ms;
use serde_json::json;

use crate::{SOON, assert_ends};

type Hash = HashMap<String, String>;

fn hash(scene: &Scene, user: &str) -> Result<Hash> {
    let key = scene.names.features_key(user);
    Ok(redis::cmd("HGETALL").arg(key).query(&mut scene.redis()?)?)
}

fn until_field(scene: &Scene, user: &str, field: &str, value: &str) -> Result<Hash> {
    until(&format!("{field} = {value} of {user}"), SOON, || {
        let hash = hash(scene, user)?;
        Ok((hash.get(field).is_some_and(|found| found == value)).then_some(hash))
    })
}

fn send(scene: &Scene, events: &[serde_json::Value]) -> Result<()> {
    for event in events {
        let value = event.to_string();
        scene.send(
            &scene.names.user_events,
            &[(event["user_id"].as_str(), Some(&value))],
        )?;
    }
    Ok(())
}

#[test]
fn features_decay_without_events_also_across_a_restart() -> Result<()> {
    let scene = Scene::new("fz-decay", 2)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    featurizer.wait_ready()?;
    let leaves_ms = now_ms() + 8_000;
    let event =
        |amount: i64, time_ms: i64| json!({"user_id": "u", "amount": amount, "timestamp": time_ms});
    let early = event(7, leaves_ms - 86_400_000);
    send(&scene, &[early, event(5, leaves_ms + 4_000 - 86_400_000)])?;
    until_field(&scene, "u", "total_spend_24h", "12")?;
    // When the hash ends; asked for as what is left of its life, which takes a moment.
    let life = |scene: &Scene| -> Result<i64> {
        let key = scene.names.features_key("u");
        let left_ms: i64 = redis::cmd("PTTL").arg(key).query(&mut scene.redis()?)?;
        Ok(now_ms() + left_ms)
    };
    let before = life(&scene)?;
    let hash = until_field(&scene, "u", "total_spend_24h", "5")?;
    let late_ms = hash["_as_of"].parse::<i64>()? - leaves_ms;
    assert!(late_ms >= 0, "decayed {late_ms} ms after the event left");
    let prolonged_ms = life(&scene)? - before;
    assert!(
        prolonged_ms < 3_000,
        "decay prolonged a life by {prolonged_ms} ms"
    );
    assert!(featurizer.terminate()?.success());
    // The second event leaves while nobody looks.
    until("the second event to leave", SOON, || {
        Ok((now_ms() > leaves_ms + 4_000).then_some(()))
    })?;
    let mut featurizer = scene.featurizer("again", &[])?;
    let hash = until_field(&scene, "u", "total_spend_24h", "0")?;
    assert_eq!(hash["purchase_count_24h"], "0");
    assert!(hash.contains_key("last_purchase_ts"));
    assert!(featurizer.terminate()?.success());
    Ok(())
}

#[test]
fn an_erased_user_is_gone_and_begins_anew() -> Result<()> {
    let scene = Scene::new("fz-erase", 2)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    send(
        &scene,
        &[
            json!({"user_id": "u", "amount": 7}),
            json!({"user_id": "other", "amount": 1}),
        ],
    )?;
    until_field(&scene, "u", "total_spend_24h", "7")?;
    scene.send(&scene.names.user_events, &[(Some("u"), None)])?;
    until("the hash to go", SOON, || {
        Ok(hash(&scene, "u")?.is_empty().then_some(()))
    })?;
    let window = format!("{}window:u", scene.names.key_prefix);
    let left: bool = redis::cmd("EXISTS")
        .arg(window)
        .query(&mut scene.redis()?)?;
    assert!(!left);
    send(&scene, &[json!({"user_id": "u", "amount": 2})])?;
    until_field(&scene, "u", "total_spend_24h", "2")?;
    assert_eq!(hash(&scene, "other")?["total_spend_24h"], "1");

    // Built anew from the log, what was erased stays erased.
    assert!(featurizer.terminate()?.success());
    let mut rebuild = scene.featurizer("rebuild", &["rebuild"])?;
    assert!(
        rebuild.wait_for_end(SOON)?.success(),
        "{}",
        rebuild.output()
    );
    let mut featurizer = scene.featurizer("again", &[])?;
    featurizer.wait_ready()?;
    assert_eq!(hash(&scene, "u")?["total_spend_24h"], "2");
    assert!(featurizer.terminate()?.success());
    Ok(())
}

#[test]
fn a_user_in_several_partitions_is_counted_once_for_each_event() -> Result<()> {
    let scene = Scene::new("fz-moves", 6)?;
    let mut programs = vec![
        scene.featurizer("first", &["--workers", "2"])?,
        scene.featurizer("second", &[])?,
    ];
    for program in &mut programs {
        program.wait_ready()?;
    }
    // Keys that are not the user's spread the events over all partitions and workers.
    let value = json!({"user_id": "u", "amount": 1}).to_string();
    let keys: Vec<String> = (0..300).map(|number| format!("k{number}")).collect();
    let records: Vec<_> = keys
        .iter()
        .map(|key| (Some(key.as_str()), Some(value.as_str())))
        .collect();
    scene.send(&scene.names.user_events, &records)?;
    let hash = until_field(&scene, "u", "purchase_count_24h", "300")?;
    assert_eq!(hash["total_spend_24h"], "300");
    for mut program in programs {
        assert!(program.terminate()?.success());
    }
    Ok(())
}

const DEFINITIONS: &str = r#"
    [[feature]]
    name = "spend_1h"
    aggregate = "sum"
    field = "amount"
    window = "1h"
    [[feature]]
    name = "views_7d"
    aggregate = "count"
    window = "7d"
    where = { action = "view" }
    [[feature]]
    name = "shops_24h"
    aggregate = "distinct"
    field = "shop"
    window = "24h"
    [[feature]]
    name = "largest_24h"
    aggregate = "max"
    field = "amount"
    window = "24h"
    where = { action = "purchase", abroad = true }
    [[feature]]
    name = "spread_24h"
    aggregate = "stddev"
    field = "amount"
    window = "24h"
    [[feature]]
    name = "last_price"
    aggregate = "last"
    field = "price"
"#;

#[test]
fn definitions_of_ones_own_take_the_place_of_the_four_features() -> Result<()> {
    let scene = Scene::new("fz-own", 2)?;
    let file = scene.folder().join("features.toml");
    fs::write(&file, DEFINITIONS)?;
    let file = file.to_str().unwrap();
    let mut featurizer = scene.featurizer("featurizer", &["--features", file])?;
    let hour = 3_600_000;
    let event = |amount: i64, ago_ms: i64, shop: &str, abroad: bool| {
        json!({"user_id": "u", "amount": amount, "timestamp": now_ms() - ago_ms, "shop": shop, "abroad": abroad,
            "price": amount * 2})
    };
    let view = json!({"user_id": "u", "action": "view", "timestamp": now_ms() - 100 * hour});
    send(
        &scene,
        &[
            event(10, 0, "a", true),
            event(20, 2 * hour, "b", false),
            event(30, 3 * hour, "a", true),
            view,
        ],
    )?;
    let hash = until_field(&scene, "u", "views_7d", "1")?;
    for (name, value) in [
        ("spend_1h", "10"),
        ("shops_24h", "2"),
        ("largest_24h", "30"),
        ("last_price", "20"),
    ] {
        assert_eq!(hash[name], value, "{name} in {hash:?}");
    }
    let spread: f64 = hash["spread_24h"].parse()?;
    assert!((spread - (200.0f64 / 3.0).sqrt()).abs() < 1e-9, "{spread}");
    assert!(!hash.contains_key("purchase_count_24h"));

    // The prefix belongs to these definitions until it is taken over.
    let mut other = scene.featurizer("other", &[])?;
    assert_eq!(other.wait_for_end(SOON)?.code(), Some(64));
    assert!(other.output().contains("--takeover"), "{}", other.output());
    let mut other = scene.featurizer("taker", &["--takeover"])?;
    until_field(&scene, "u", "purchase_count_24h", "3")?;
    assert!(other.terminate()?.success());
    // Who still has the old definitions sees the new owner at its next claim.
    let status = featurizer.wait_for_end(SOON)?;
    assert_eq!(status.code(), Some(64), "{}", featurizer.output());
    Ok(())
}

#[test]
fn beyond_the_exact_events_a_value_says_that_it_is_not_exact() -> Result<()> {
    let scene = Scene::new("fz-tiles", 1)?;
    let mut featurizer = scene.featurizer("featurizer", &["--exact-events", "10"])?;
    let minute = now_ms() / 60_000 * 60_000 - 86_400_000 + 60_000;
    let event = |time_ms: i64| json!({"user_id": "u", "amount": 1, "timestamp": time_ms});
    // A minute that the window's begin is about to pass through, and enough after it to fold it into a tile.
    let mut events: Vec<_> = (0..60)
        .map(|second| event(minute + second * 1_000))
        .collect();
    events.extend((0..20).map(|number| event(now_ms() - 60_000 - number * 1_000)));
    send(&scene, &events)?;
    until_field(&scene, "u", "purchase_count_24h", "80")?;
    let hash = until_field(&scene, "u", "_exact", "0")?;
    assert_eq!(hash["purchase_count_24h"], "80", "the tile counts whole");
    until_field(&scene, "u", "purchase_count_24h", "20")?;
    assert!(!hash_without_mark(&scene)?.contains_key("_exact"));
    assert!(featurizer.terminate()?.success());
    Ok(())
}

#[test]
fn a_user_with_100_000_events_a_day_is_kept_within_bounds() -> Result<()> {
    const EVENTS: i64 = 100_000;
    const DAY_MS: i64 = 86_400_000;
    let scene = Scene::new("fz-busy", 1)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    let begin_ms = now_ms() - DAY_MS + 20_000;
    let times: Vec<i64> = (0..EVENTS)
        .map(|number| begin_ms + number * (DAY_MS - 20_000) / EVENTS)
        .collect();
    let values: Vec<String> = times
        .iter()
        .map(|time| json!({"user_id": "u", "amount": 0.1, "timestamp": time}).to_string())
        .collect();
    let records: Vec<_> = values
        .iter()
        .map(|value| (Some("u"), Some(value.as_str())))
        .collect();
    scene.send(&scene.names.user_events, &records)?;
    featurizer.wait_ready()?;
    let hash = until("the newest event", SOON, || {
        let hash = hash(&scene, "u")?;
        let newest = hash
            .get("last_purchase_ts")
            .and_then(|text| text.parse().ok());
        Ok((newest == times.last().map(|time| *time as f64 / 1_000.0)).then_some(hash))
    })?;
    let as_of: i64 = hash["_as_of"].parse()?;
    let inside = times.iter().filter(|time| **time > as_of - DAY_MS).count() as i64;
    let count: i64 = hash["purchase_count_24h"].parse()?;
    let minute = EVENTS / 1_440 + 1;
    assert!(
        (inside..=inside + minute).contains(&count),
        "{count} of {inside}"
    );
    let total: f64 = hash["total_spend_24h"].parse()?;
    assert!(
        (total - count as f64 / 10.0).abs() < 1e-9 * total,
        "{total} of {count}"
    );
    let bytes: usize = redis::cmd("STRLEN")
        .arg(format!("{}window:u", scene.names.key_prefix))
        .query(&mut scene.redis()?)?;
    assert!(bytes < 100_000, "a window of {bytes} bytes");
    assert!(featurizer.terminate()?.success());
    Ok(())
}

fn hash_without_mark(scene: &Scene) -> Result<Hash> {
    until("the mark to go", Duration::from_secs(10), || {
        let hash = hash(scene, "u")?;
        Ok((!hash.contains_key("_exact")).then_some(hash))
    })
}

#[test]
fn explain_agrees_with_the_store_and_tells_when_it_does_not() -> Result<()> {
    let scene = Scene::new("fz-explain", 3)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    send(
        &scene,
        &[
            json!({"user_id": "u", "amount": 49.99}),
            json!({"user_id": "u", "amount": 0.01}),
        ],
    )?;
    until_field(&scene, "u", "total_spend_24h", "50")?;
    let mut explain = scene.featurizer("explain", &["explain", "u"])?;
    assert_eq!(
        explain.wait_for_end(SOON)?.code(),
        Some(0),
        "{}",
        explain.output()
    );
    assert!(explain.output().contains("49.99"), "{}", explain.output());
    let mut json = scene.featurizer("explain-json", &["explain", "u", "--json"])?;
    assert_eq!(json.wait_for_end(SOON)?.code(), Some(0));
    let output = json.output();
    let report: serde_json::Value = serde_json::from_str(&output[output.find('{').unwrap()..])?;
    assert_eq!(report["differs"], json!(false));
    assert_eq!(report["features"][1]["topic"], json!("50"));
    assert_eq!(
        report["events"][0]["counts_in"].as_array().map(Vec::len),
        Some(4)
    );
    let key = scene.names.features_key("u");
    redis::cmd("HSET")
        .arg(key)
        .arg("total_spend_24h")
        .arg("51")
        .query::<()>(&mut scene.redis()?)?;
    let mut explain = scene.featurizer("explain-again", &["explain", "u"])?;
    assert_eq!(
        explain.wait_for_end(SOON)?.code(),
        Some(1),
        "{}",
        explain.output()
    );
    assert!(explain.output().contains("differs"), "{}", explain.output());
    redis::cmd("DEL")
        .arg(scene.names.features_key("u"))
        .query::<()>(&mut scene.redis()?)?;
    let says = ["differs  there is no hash of the user"];
    assert_ends(scene.featurizer("gone", &["explain", "u"])?, 1, &says)?;
    let says = ["user nobody: no events since", "nothing stored"];
    assert_ends(
        scene.featurizer("unknown", &["explain", "nobody"])?,
        1,
        &says,
    )?;
    assert!(featurizer.terminate()?.success());
    Ok(())
}
