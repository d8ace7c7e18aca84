//! Records of the documented shapes through the three binaries.

use std::collections::HashMap;

use anyhow::Result;
use sandbox::harness::{Scene, until};
use sandbox::oracle::read_data_set;
use sandbox::simulate::now_ms;
use serde_json::{Value, json};

use crate::SOON;

fn rfc3339(time_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(time_ms)
        .unwrap()
        .to_string()
}

fn features(scene: &Scene, user: &str) -> Result<HashMap<String, String>> {
    let key = scene.names.features_key(user);
    Ok(redis::cmd("HGETALL").arg(key).query(&mut scene.redis()?)?)
}

#[test]
fn purchases_become_the_four_features() -> Result<()> {
    let scene = Scene::new("features", 4)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    featurizer.wait_ready()?;
    // Whole seconds, so that the last purchase's time has no fraction.
    let now_ms = now_ms() / 1_000 * 1_000;
    let event = |amount: f64, ago_ms: i64| {
        json!({
            "user_id": "u_12345", "action": "purchase", "amount": amount,
            "timestamp": rfc3339(now_ms - ago_ms), "item_category": "electronics"
        })
        .to_string()
    };
    let (late, first, second, old) = (
        event(5.0, 3_600_000),
        event(49.99, 60_000),
        event(10.01, 1_000),
        event(7.0, 90_000_000),
    );
    let login = json!({"user_id": "u_12345", "action": "login"}).to_string();
    let records: Vec<_> = [&first, &second, &login, &old, &late]
        .map(|value| (Some("u_12345"), Some(value.as_str())))
        .into();
    scene.send(&scene.names.user_events, &records)?;

    let hash = until("the features of three purchases", SOON, || {
        let hash = features(&scene, "u_12345")?;
        Ok((hash
            .get("purchase_count_24h")
            .is_some_and(|count| count == "3"))
        .then_some(hash))
    })?;
    assert_eq!(hash["total_spend_24h"], "65");
    let mean: f64 = hash["avg_purchase_amount"].parse()?;
    assert!((mean - 65.0 / 3.0).abs() < 1e-9, "{mean}");
    assert_eq!(
        hash["last_purchase_ts"],
        ((now_ms - 1_000) / 1_000).to_string()
    );

    let as_of: i64 = hash["_as_of"].parse()?;
    assert!(as_of >= now_ms);
    assert_eq!(
        hash["_valid_until"],
        (now_ms - 3_600_000 + 86_400_000).to_string()
    );
    let ttl: i64 = redis::cmd("TTL")
        .arg(scene.names.features_key("u_12345"))
        .query(&mut scene.redis()?)?;
    assert!((172_000..=172_800).contains(&ttl), "{ttl}");
    assert!(featurizer.terminate()?.success());
    Ok(())
}

#[test]
fn an_event_of_last_year_counts_for_nothing_but_the_last_purchase() -> Result<()> {
    let scene = Scene::new("old", 1)?;
    let _featurizer = scene.featurizer("featurizer", &[])?;
    let value = r#"{"user_id":"u_12345","action":"purchase","amount":49.99,"timestamp":"2025-02-15T10:30:00Z","item_category":"electronics"}"#;
    scene.send(&scene.names.user_events, &[(Some("u_12345"), Some(value))])?;
    let hash = until("the features", SOON, || {
        let hash = features(&scene, "u_12345")?;
        Ok((!hash.is_empty()).then_some(hash))
    })?;
    assert_eq!(hash["purchase_count_24h"], "0");
    assert_eq!(hash["total_spend_24h"], "0");
    assert_eq!(hash["avg_purchase_amount"], "0");
    assert_eq!(hash["last_purchase_ts"], "1739615400");
    Ok(())
}

/// Golden vectors of the model's manifest: inputs and their scores.
fn golden(scene: &Scene) -> Result<Vec<([f64; 4], f64)>> {
    let path = scene.model()?.with_extension("toml");
    let manifest: toml::Table = std::fs::read_to_string(path)?.parse()?;
    let number = |value: &toml::Value| {
        value
            .as_float()
            .unwrap_or_else(|| value.as_integer().unwrap() as f64)
    };
    let entries = manifest["golden"].as_array().unwrap().iter();
    Ok(entries
        .map(|entry| {
            let input: Vec<f64> = entry["input"]
                .as_array()
                .unwrap()
                .iter()
                .map(number)
                .collect();
            (input.try_into().unwrap(), number(&entry["score"]))
        })
        .collect())
}

#[test]
fn transactions_become_predictions() -> Result<()> {
    let scene = Scene::new("predictions", 4)?;
    let golden = golden(&scene)?;
    assert!(
        golden.iter().any(|(_, score)| *score > 0.85),
        "no golden vector is an alert"
    );
    let values: Vec<(String, String)> = golden
        .iter()
        .enumerate()
        .map(|(number, (input, _))| {
            let id = format!("t_{number}");
            // Booleans count as numbers.
            let international = if number % 2 == 0 { json!(input[2]) } else { json!(input[2] != 0.0) };
            let value = json!({
                "transaction_id": id, "user_id": "u_12345", "amount": input[0], "hour_of_day": input[1],
                "is_international": international, "merchant_risk_score": input[3],
                "timestamp": rfc3339(now_ms()), "unknown": {"is": "ignored"}
            });
            (id, value.to_string())
        })
        .collect();
    let records: Vec<_> = values
        .iter()
        .map(|(id, value)| (Some(id.as_str()), Some(value.as_str())))
        .collect();
    scene.send(&scene.names.transactions, &records)?;
    let mut scorer = scene.scorer("scorer", &[])?;
    scorer.wait_ready()?;

    let predictions = until("all predictions", SOON, || {
        let predictions = scene.read(&scene.names.predictions)?;
        Ok((predictions.len() >= golden.len()).then_some(predictions))
    })?;
    assert_eq!(predictions.len(), golden.len());
    let transactions = scene.read(&scene.names.transactions)?;
    for (number, (input, score)) in golden.iter().enumerate() {
        let id = format!("t_{number}");
        let prediction = predictions
            .iter()
            .find(|p| p.key.as_deref() == Some(id.as_bytes()))
            .unwrap();
        let value = prediction.json()?;
        let fields = value.as_object().unwrap();
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        assert_eq!(names.len(), 3, "{value}");
        assert_eq!(value["transaction_id"], id.as_str());
        let stored = value["fraud_score"].as_f64().unwrap();
        assert!(
            (stored - score).abs() <= 0.5e-4 + 1e-5,
            "{id}: {stored}, expected {score}"
        );
        assert_eq!(stored, (stored * 1e4).round() / 1e4, "four decimals");
        assert_eq!(value["is_fraud"], *score > 0.85);

        let receipt: Value = serde_json::from_str(&prediction.header("tidemill").unwrap())?;
        let source = transactions
            .iter()
            .find(|t| t.key.as_deref() == Some(id.as_bytes()))
            .unwrap();
        assert_eq!(receipt["v"], 1);
        assert_eq!(receipt["topic"], scene.names.transactions.as_str());
        assert_eq!(receipt["partition"], source.partition);
        assert_eq!(receipt["offset"], source.offset);
        assert_eq!(receipt["status"], json!(["ok", "ok", "ok", "ok"]));
        let inputs: Vec<f64> = receipt["inputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_f64().unwrap())
            .collect();
        assert_eq!(inputs, input);
        assert_eq!(receipt["model"].as_str().map(str::len), Some(64));
        for stage in ["fetched", "features", "scored"] {
            assert!(receipt["t"][stage].is_i64(), "{receipt}");
        }
    }
    let alerts = golden.iter().filter(|(_, score)| *score > 0.85).count();
    until("the alerts in the log", SOON, || {
        let logged = scorer
            .output()
            .lines()
            .filter(|line| line.contains("fraud alert"))
            .count();
        Ok((logged == alerts).then_some(()))
    })?;
    assert!(scorer.terminate()?.success());
    Ok(())
}

fn labeled(number: usize) -> String {
    let time_ms = 1_771_151_400_000 + number as i64 * 1_000;
    json!({
        "transaction_id": format!("t_{number}"), "user_id": "u_12345", "amount": 49.99 + number as f64,
        "hour_of_day": 10, "is_international": 0, "merchant_risk_score": 0.12, "timestamp": rfc3339(time_ms),
        "fraud_score": 0.0421, "is_fraud": false, "label": number % 2, "label_timestamp": rfc3339(time_ms + 60_000),
    })
    .to_string()
}

#[test]
fn labeled_events_become_rows_once_over_a_restart() -> Result<()> {
    let scene = Scene::new("rows", 2)?;
    let values: Vec<String> = (0..5_000).map(labeled).collect();
    let send = |values: &[String]| {
        let records: Vec<_> = values
            .iter()
            .map(|value| (Some("u_12345"), Some(value.as_str())))
            .collect();
        scene.send(&scene.names.labeled_events, &records)
    };
    // All under one key: one partition holds everything, files are cut at 1,000 records.
    send(&values[..2_500])?;
    // As many as by default: whole numbers of fewer are taken as doubles.
    let arguments = ["--rows", "1000", "--schema-records", "1000"];
    let mut collector = scene.collector("collector", &arguments)?;
    collector.wait_ready()?;
    until("two full files", SOON, || {
        Ok((read_data_set(&scene.data_set())?.files.len() >= 2).then_some(()))
    })?;
    assert!(collector.terminate()?.success());
    // The tail of 500 is there after a clean end.
    let data_set = read_data_set(&scene.data_set())?;
    assert_eq!(data_set.rows_of_files, [1_000, 1_000, 500]);

    send(&values[2_500..])?;
    collector.start_again()?;
    until("two more full files", SOON, || {
        Ok((read_data_set(&scene.data_set())?.files.len() >= 5).then_some(()))
    })?;
    assert!(collector.terminate()?.success());
    let data_set = read_data_set(&scene.data_set())?;
    assert_eq!(
        data_set.rows_of_files,
        [1_000, 1_000, 500, 1_000, 1_000, 500]
    );
    let log = scene.read(&scene.names.labeled_events)?;
    assert_eq!(log.len(), 5_000);
    assert_eq!(data_set.differences(&log), Vec::<String>::new());
    let first = data_set.rows.values().next().unwrap();
    assert_eq!(first["transaction_id"], "t_0");
    assert_eq!(first["amount"], 49.99);
    assert_eq!(first["label"], 0);
    assert_eq!(first["timestamp"], 1_771_151_400_000_i64);
    assert_eq!(first["_key"], "u_12345");
    let name = data_set.files[0].file_name().unwrap().to_str().unwrap();
    let partition = log[0].partition;
    assert_eq!(
        name,
        format!(
            "{}+{partition:05}+00000000000000000000.parquet",
            scene.names.labeled_events
        )
    );
    Ok(())
}

/// One event decides no column: those are given.
#[test]
fn labeled_events_by_hand_have_typed_columns() -> Result<()> {
    let scene = Scene::new("by-hand", 2)?;
    let schema = scene.labels_schema()?;
    let mut collector = scene.collector("collector", &["--max-age", "1s", "--schema", &schema])?;
    collector.wait_ready()?;
    let event =
        r#"{"transaction_id":"t_1","amount":899,"label":1,"timestamp":"2026-02-15T10:30:00Z"}"#;
    let records = [(Some("t_1"), Some(event))];
    scene.send(&scene.names.labeled_events, &records)?;
    let data_set = until("the event", SOON, || {
        let found = read_data_set(&scene.data_set())?;
        Ok((found.rows.len() == 1).then_some(found))
    })?;
    let row = data_set.rows.values().next().unwrap();
    assert_eq!((&row["amount"], &row["label"]), (&json!(899.0), &json!(1)));
    assert_eq!(row["timestamp"], 1_771_151_400_000_i64);
    assert!(!row.contains_key("_extra"), "{row:?}");
    assert!(collector.terminate()?.success());
    Ok(())
}
