//! Malformed records among good ones.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Result;
use sandbox::harness::{Names, Scene, until};
use sandbox::kafka::Stored;
use sandbox::oracle::{compare, histories, read_data_set};
use serde_json::{Value, json};

use crate::SOON;

/// A value for each reason why no binary can use a record; `None` is a null value.
const BROKEN: [(&str, Option<&str>); 4] = [
    ("invalid_json", Some("{\"transaction_id\":")),
    ("not_an_object", Some("[1,2]")),
    ("empty_value", Some("")),
    ("empty_value", None),
];

/// Checks that each record ended as a dead letter for its reason, its key, value and place unchanged.
pub(crate) fn assert_dead_letters(
    scene: &Scene,
    topic: &str,
    expected: &[(&str, Option<&str>)],
) -> Result<()> {
    let dead_letters = until("all dead letters", SOON, || {
        let found = scene.read(&Names::dead_letters(topic)).unwrap_or_default();
        Ok((found.len() >= expected.len()).then_some(found))
    })?;
    let log = scene.read(topic)?;
    let at = |letter: &Stored| {
        let number = |name| letter.header(name).unwrap().parse::<i64>().unwrap();
        (number("source.partition") as i32, number("source.offset"))
    };
    let mut letters: BTreeMap<(i32, i64), &Stored> = BTreeMap::new();
    for letter in &dead_letters {
        assert_eq!(letter.header("source.topic").as_deref(), Some(topic));
        assert!(
            letter
                .header("error")
                .is_some_and(|error| !error.is_empty())
        );
        assert!(letter.header("binary").is_some() && letter.header("version").is_some());
        assert!(
            letters.insert(at(letter), letter).is_none(),
            "two dead letters for one record"
        );
    }
    let mut reasons: Vec<_> = Vec::new();
    for record in &log {
        if let Some(letter) = letters.get(&(record.partition, record.offset)) {
            assert_eq!((&letter.key, &letter.value), (&record.key, &record.value));
            let value = record
                .value
                .as_ref()
                .map(|value| String::from_utf8_lossy(value).into_owned());
            reasons.push((letter.header("reason").unwrap(), value));
        }
    }
    let mut wanted: Vec<_> = expected
        .iter()
        .map(|(reason, value)| (reason.to_string(), value.map(str::to_owned)))
        .collect();
    reasons.sort();
    wanted.sort();
    assert_eq!(reasons, wanted);
    Ok(())
}

#[test]
fn the_featurizer_sets_aside_what_it_cannot_use() -> Result<()> {
    let scene = Scene::new("odd-events", 2)?;
    let mut unusable = vec![
        ("missing_field", Some(r#"{"action":"purchase","amount":1}"#)),
        ("missing_field", Some(r#"{"user_id":null,"amount":1}"#)),
        ("wrong_type", Some(r#"{"user_id":"u_1","amount":"1"}"#)),
        ("wrong_type", Some(r#"{"user_id":"u_1","action":7}"#)),
        ("out_of_range", Some(r#"{"user_id":"","amount":1}"#)),
        (
            "invalid_timestamp",
            Some(r#"{"user_id":"u_1","timestamp":"yesterday"}"#),
        ),
        (
            "future_timestamp",
            Some(r#"{"user_id":"u_1","timestamp":"2999-01-01T00:00:00Z"}"#),
        ),
    ];
    unusable.extend(BROKEN);
    let good = [
        r#"{"user_id":"u_1","amount":2.5}"#,
        r#"{"user_id":42,"amount":null,"item_category":{"a":[]}}"#,
    ];
    let mut records: Vec<(Option<&str>, Option<&str>)> = vec![(Some("u_1"), Some(good[0]))];
    // Without a key, since a null value with a key is a request to forget that user.
    records.extend(unusable.iter().map(|(_, value)| (None, *value)));
    records.push((Some("42"), Some(good[1])));
    scene.send(&scene.names.user_events, &records)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    featurizer.wait_ready()?;
    assert_dead_letters(&scene, &scene.names.user_events, &unusable)?;

    let histories = histories(&scene.read(&scene.names.user_events)?);
    assert_eq!(histories.keys().collect::<Vec<_>>(), ["42", "u_1"]);
    let mut redis = scene.redis()?;
    until("both users' features", SOON, || {
        Ok(compare(&histories, &mut redis, &scene.names.key_prefix)?
            .holds()
            .then_some(()))
    })?;
    assert!(featurizer.terminate()?.success());
    Ok(())
}

#[test]
fn the_scorer_sets_aside_what_it_cannot_use() -> Result<()> {
    let scene = Scene::new("odd-transactions", 2)?;
    let mut unusable = vec![
        (
            "missing_field",
            Some(r#"{"amount":1,"hour_of_day":1,"is_international":0,"merchant_risk_score":0.1}"#),
        ),
        (
            "missing_field",
            Some(
                r#"{"transaction_id":"t","hour_of_day":1,"is_international":0,"merchant_risk_score":0.1}"#,
            ),
        ),
        (
            "missing_field",
            Some(
                r#"{"transaction_id":"t","amount":null,"hour_of_day":1,"is_international":0,"merchant_risk_score":0.1}"#,
            ),
        ),
        (
            "wrong_type",
            Some(
                r#"{"transaction_id":"t","amount":"1","hour_of_day":1,"is_international":0,"merchant_risk_score":0.1}"#,
            ),
        ),
    ];
    unusable.extend(BROKEN);
    let good = |id: &str| {
        format!(
            r#"{{"transaction_id":"{id}","amount":1,"hour_of_day":1,"is_international":false,"merchant_risk_score":0.1}}"#
        )
    };
    let (first, last) = (good("t_first"), good("t_last"));
    let mut records: Vec<(Option<&str>, Option<&str>)> = vec![(Some("k"), Some(&first))];
    records.extend(unusable.iter().map(|(_, value)| (Some("k"), *value)));
    records.push((Some("k"), Some(&last)));
    scene.send(&scene.names.transactions, &records)?;
    let mut scorer = scene.scorer("scorer", &[])?;
    scorer.wait_ready()?;
    assert_dead_letters(&scene, &scene.names.transactions, &unusable)?;

    let predictions = scene.read(&scene.names.predictions)?;
    let ids: Vec<_> = predictions
        .iter()
        .map(|p| p.json().unwrap()["transaction_id"].clone())
        .collect();
    assert_eq!(ids, ["t_first", "t_last"]);
    assert!(scorer.terminate()?.success());
    Ok(())
}

#[test]
fn the_collector_sets_aside_what_cannot_be_a_row() -> Result<()> {
    let scene = Scene::new("odd-labels", 1)?;
    let topic = &scene.names.labeled_events;
    let good = |id: usize| format!(r#"{{"transaction_id":"t_{id}","label":1,"amount":2.5}}"#);
    let (first, last) = (good(0), good(6));
    let mut records: Vec<(Option<&str>, Option<&str>)> = vec![(Some("k"), Some(&first))];
    records.extend(BROKEN.iter().map(|(_, value)| (Some("k"), *value)));
    scene.send(topic, &records)?;
    let mut collector = scene.collector("collector", &["--max-age", "1s"])?;
    let wait_for = |count: usize| {
        until("all records in the data set", SOON, || {
            let data_set = read_data_set(&scene.data_set())?;
            let rejects = rejects(&scene)?;
            let all = data_set.rows.len() + rejects.len() >= count;
            Ok(all.then_some((data_set, rejects)))
        })
    };
    wait_for(5)?;
    // The first file has settled the schema: what does not fit it is kept beside it.
    let odd = r#"{"transaction_id":"t_5","label":"not a number","new":{"field":1}}"#;
    scene.send(topic, &[(None, Some(odd)), (Some("k"), Some(&last))])?;
    let (data_set, rejects) = wait_for(7)?;
    assert!(collector.terminate()?.success());

    let reasons: Vec<_> = rejects
        .iter()
        .map(|line| line["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, BROKEN.map(|(reason, _)| reason));
    let offsets: Vec<_> = rejects
        .iter()
        .map(|line| line["offset"].as_i64().unwrap())
        .collect();
    assert_eq!(offsets, [1, 2, 3, 4]);
    // base64 of the key and of the second broken value.
    assert_eq!(rejects[1]["key"], "aw==");
    assert_eq!(rejects[1]["value"], "WzEsMl0=");
    assert_eq!(rejects[3]["value"], Value::Null);

    let rows = &data_set.rows;
    assert_eq!(
        rows.keys().map(|(_, offset)| *offset).collect::<Vec<_>>(),
        [0, 5, 6]
    );
    assert_eq!(
        (&rows[&(0, 0)]["label"], &rows[&(0, 6)]["label"]),
        (&json!(1.0), &json!(1.0))
    );
    let odd = &rows[&(0, 5)];
    assert_eq!(
        (odd["transaction_id"].as_str(), odd.get("label")),
        (Some("t_5"), None)
    );
    let extra: Value = serde_json::from_str(odd["_extra"].as_str().unwrap())?;
    assert_eq!(extra, json!({"label": "not a number", "new": {"field": 1}}));
    Ok(())
}

/// The lines of all reject files, in the order of their offsets.
pub(crate) fn rejects(scene: &Scene) -> Result<Vec<Value>> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(scene.data_set().join("_rejected"))
        .into_iter()
        .flatten()
    {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "ndjson")
        {
            for line in fs::read_to_string(path)?.lines() {
                lines.push(serde_json::from_str(line)?);
            }
        }
    }
    lines.sort_by_key(|line: &Value| line["offset"].as_i64());
    Ok(lines)
}
