//! Point-in-time columns against a recomputation that keeps every event in a list.

use std::fs;

use anyhow::{Context, Result};
use sandbox::harness::Scene;
use sandbox::kafka::Producer;
use sandbox::oracle::read_data_set;
use sandbox::simulate::now_ms;
use serde_json::{Value, json};

use crate::SOON;
use crate::collector::{assert_whole, bounded, delete_before, finish};

const HOUR_MS: i64 = 3_600_000;

const FEATURES: &str = r#"
[[feature]]
name = "purchase_count_24h"
aggregate = "count"
window = "24h"
where = { action = "purchase" }

[[feature]]
name = "total_spend_24h"
aggregate = "sum"
field = "amount"
window = "24h"
where = { action = "purchase" }

[[feature]]
name = "largest_2h"
aggregate = "max"
field = "amount"
window = "2h"
"#;

/// Pseudo-random numbers below `limit`, the same in every run.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |limit| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    }
}

#[test]
fn each_record_gets_what_serving_knew_at_its_time() -> Result<()> {
    let scene = Scene::new("features-as-of", 3)?;
    let start = now_ms() - 60 * HOUR_MS;
    let mut below = numbers(11);
    // (user, time, amount, is a purchase); one user, whose events lie in all partitions, is erased in the middle.
    let mut events: Vec<(u64, i64, f64, bool)> = Vec::new();
    let mut records = Vec::new();
    for number in 0..3_000 {
        if number == 1_500 {
            events.retain(|(user, ..)| *user != 3);
            records.push((Some("u_3".to_owned()), None));
        }
        let (user, time) = (below(20), start + below(58 * HOUR_MS as u64) as i64);
        let (amount, purchase) = (below(100_000) as f64 / 100.0, below(3) > 0);
        events.push((user, time, amount, purchase));
        let action = if purchase { "purchase" } else { "view" };
        let id = format!("u_{user}");
        let value = json!({"user_id": id, "timestamp": time, "action": action, "amount": amount});
        records.push(((user != 3).then_some(id), Some(value.to_string())));
    }
    let producer = Producer::open(&scene.brokers)?;
    let first = now_ms() - records.len() as i64;
    for ((key, value), at) in records.iter().zip(first..) {
        let [key, value] = [key, value].map(|part| part.as_deref().map(str::as_bytes));
        producer.send(&scene.names.user_events, key, value, Some(at))?;
    }
    producer.flush()?;

    let asked: Vec<(u64, i64)> = (0..500)
        .map(|_| (below(22), start + below(58 * HOUR_MS as u64) as i64))
        .collect();
    let mut labeled: Vec<String> = asked
        .iter()
        .map(|(user, time)| {
            json!({"user_id": format!("u_{user}"), "timestamp": time, "label": 1}).to_string()
        })
        .collect();
    labeled.push(json!({"user_id": "u_1", "label": 0}).to_string());
    let sent: Vec<_> = labeled
        .iter()
        .map(|value| (Some("one"), Some(value.as_str())))
        .collect();
    scene.send(&scene.names.labeled_events, &sent)?;

    let file = scene.folder().join("features.toml");
    fs::write(&file, FEATURES)?;
    for (out, delay_ms) in [("now", 0), ("delayed", 30_000)] {
        let (delay, features) = (format!("{delay_ms}ms"), file.to_str().context("path")?);
        let arguments = [
            "--out",
            out,
            "--until-end",
            "--features",
            features,
            "--events-topic",
            &scene.names.user_events,
            "--delay",
            &delay,
        ];
        let mut collector = scene.collector(out, &arguments)?;
        assert!(
            collector.wait_for_end(SOON)?.success(),
            "{}",
            collector.output()
        );
        let folder = scene.folder().join(out);
        assert_whole(&folder)?;
        let rows = read_data_set(&folder)?.rows;
        assert_eq!(rows.len(), asked.len() + 1);
        // All lie in one partition, so that they come back in their order.
        for (row, (user, time)) in rows.values().zip(&asked) {
            let as_of = time - delay_ms;
            let within = |window: i64| {
                let own = events
                    .iter()
                    .filter(move |(own, time, ..)| own == user && *time <= as_of);
                own.filter(move |(_, time, ..)| *time > as_of - window)
            };
            let purchases = || within(24 * HOUR_MS).filter(|(.., purchase)| *purchase);
            let spend: f64 = purchases().map(|(_, _, amount, _)| amount).sum();
            let largest = within(2 * HOUR_MS)
                .map(|(_, _, amount, _)| *amount)
                .reduce(f64::max);
            assert_eq!(
                row["purchase_count_24h"].as_f64(),
                Some(purchases().count() as f64)
            );
            let own = row["total_spend_24h"].as_f64().context("no sum")?;
            assert!(
                (own - spend).abs() <= 1e-9 * spend.max(1.0),
                "{own} and {spend}"
            );
            assert_eq!(row.get("largest_2h").and_then(Value::as_f64), largest);
        }
        let last = rows.values().last().context("no row")?;
        assert_eq!(
            last.get("purchase_count_24h"),
            None,
            "without a time nothing is known"
        );
    }
    Ok(())
}

#[test]
fn what_retention_has_taken_is_null_and_not_nothing() -> Result<()> {
    let scene = Scene::new("features-expired", 1)?;
    let (events, labeled) = (&scene.names.user_events, &scene.names.labeled_events);
    let start = now_ms() - 60 * HOUR_MS;
    let producer = Producer::open(&scene.brokers)?;
    let send = |topic: &str, hour: i64| -> Result<()> {
        let time = start + hour * HOUR_MS;
        let value = json!({"user_id": "u_1", "timestamp": time}).to_string();
        producer.send(topic, None, Some(value.as_bytes()), Some(time))
    };
    for hour in [0, 1, 40, 41] {
        send(events, hour)?;
        send(labeled, hour)?;
    }
    producer.flush()?;
    let file = scene.folder().join("features.toml");
    fs::write(&file, FEATURES)?;
    let file = file.to_str().context("path")?;
    let counts = |out: &str, until: &[&str]| -> Result<Vec<Option<f64>>> {
        let own = ["--features", file, "--events-topic", events];
        finish(bounded(&scene, out, &[&own, until].concat())?)?;
        let rows = read_data_set(&scene.folder().join(out))?.rows;
        let counts = rows.values().map(|row| row.get("purchase_count_24h"));
        Ok(counts.map(|count| count.and_then(Value::as_f64)).collect())
    };
    let to = (start + 30 * HOUR_MS).to_string();
    let (some, none) = (Some, None);
    assert_eq!(
        counts("whole", &["--until-end"])?,
        [some(1.0), some(2.0), some(1.0), some(2.0)]
    );
    // The oldest record left is of hour 40: what `--to` would read is gone.
    delete_before(&scene, events, 2)?;
    assert_eq!(counts("past", &["--to", &to])?, [none, none]);
    assert_eq!(counts("cut", &["--until-end"])?, [none; 4]);
    delete_before(&scene, events, 4)?;
    assert_eq!(counts("expired", &["--until-end"])?, [none; 4]);
    Ok(())
}
