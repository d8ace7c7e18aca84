//! The programs' own sections of the live pages in a real browser, and records that try to become markup there.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sandbox::harness::{Scene, until};
use sandbox::oracle::read_data_set;
use serde_json::{Value, json};

use crate::SOON;
use crate::browser::{self, Browser};
use crate::page::{address, wait_ready};

/// An id that is markup to whoever takes it for that.
const HOSTILE: &str =
    "<img src=x onerror=document.title='harmed'><script>document.title='harmed'</script>";

/// The page asks once a second, so that this is enough for what it should show at once.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Nothing of what records hold became an element, ran, or was asked for.
fn assert_unharmed(browser: &Browser) -> Result<()> {
    let strange = "document.querySelectorAll('img:not([src=\"icon.svg\"]), body script').length";
    assert_eq!(browser.value(strange)?, 0, "a record became markup");
    assert_ne!(browser.value("document.title")?, "harmed");
    assert_eq!(browser.complaints()?, [""; 0]);
    Ok(())
}

/// The texts of a table's cells, row by row.
fn rows(browser: &Browser, table: &str) -> Result<Vec<Vec<String>>> {
    let rows = browser.value(&format!(
        "[...document.querySelectorAll({:?})].map((row) => [...row.cells].map((cell) => cell.textContent))",
        format!("{table} tbody tr")
    ))?;
    Ok(serde_json::from_value(rows)?)
}

fn open(scene: &Scene, program: &mut sandbox::harness::Program) -> Result<Browser> {
    program.wait_ready()?;
    let browser = Browser::start(scene.folder())?;
    browser.open(&address(program))?;
    wait_ready(&browser)?;
    Ok(browser)
}

/// A payment that the model takes for a fraud, or for none.
fn payment(id: &str, is_fraud: bool) -> String {
    let (international, risk) = if is_fraud { (1, 0.55) } else { (0, 0.07) };
    json!({"transaction_id": id, "amount": 0.68, "hour_of_day": 14, "is_international": international,
        "merchant_risk_score": risk})
    .to_string()
}

#[test]
fn an_alert_appears_at_once_with_what_led_to_it() -> Result<()> {
    if !browser::is_there() {
        return Ok(());
    }
    let scene = Scene::new("page-scorer", 1)?;
    let mut scorer = scene.scorer("scorer", &[])?;
    let browser = open(&scene, &mut scorer)?;
    let send = |id: &str, is_fraud| {
        let value = payment(id, is_fraud);
        scene.send(&scene.names.transactions, &[(Some("k"), Some(&value))])
    };
    for (id, is_fraud) in [("calm", false), ("late", true), ("calm", false)] {
        send(id, is_fraud)?;
    }
    send(HOSTILE, true)?;
    let predictions = until("four predictions", SOON, || {
        let predictions = scene.read(&scene.names.predictions)?;
        Ok((predictions.len() == 4).then_some(predictions))
    })?;
    let committed = Instant::now();
    browser.wait_for("#alerts", HOSTILE, AT_ONCE)?;
    assert!(committed.elapsed() <= AT_ONCE, "{:?}", committed.elapsed());
    let ids = browser
        .value("[...document.querySelectorAll('.alert .id')].map((one) => one.textContent)")?;
    assert_eq!(ids, json!([HOSTILE, "late"]), "the newest first");

    browser.value("(() => { document.querySelector('.alert summary').click(); })()")?;
    browser.wait_for(".alert", "offset 3", SOON)?;
    let receipt = predictions[3].header("tidemill").context("no receipt")?;
    let receipt: Value = serde_json::from_str(&receipt)?;
    let shown = rows(&browser, ".alert table:first-of-type")?;
    let inputs = receipt["inputs"].as_array().context("no inputs")?;
    for (row, input) in shown.iter().zip(inputs) {
        assert_eq!(row[1].parse::<f64>()?, input.as_f64().context("no number")?);
        assert_eq!(row[2], "ok");
    }
    assert_eq!(
        shown.len() - 4,
        inputs.len(),
        "inputs, then four times: {shown:?}"
    );

    let digest = receipt["model"].as_str().context("no model")?;
    browser.wait_for("#model", digest, SOON)?;
    browser.wait_for("#outcome", "Above 0.85: 2 alerts", SOON)?;
    browser.value(
        "(() => { const slider = document.querySelector('#threshold'); slider.value = 99; \
        slider.dispatchEvent(new Event('input')); })()",
    )?;
    browser.wait_for("#outcome", "Above 0.99: 0 alerts", SOON)?;
    // The alert stays open while others come.
    send("another", true)?;
    browser.wait_for("#alerts", "another", SOON)?;
    assert_eq!(
        browser.value("document.querySelectorAll('.alert[open]').length")?,
        1
    );
    assert_unharmed(&browser)
}

#[test]
fn files_misfits_and_rejects_are_those_of_the_data_set() -> Result<()> {
    if !browser::is_there() {
        return Ok(());
    }
    let scene = Scene::new("page-collector", 2)?;
    let topic = &scene.names.labeled_events;
    let mut collector = scene.collector("collector", &["--max-age", "500ms"])?;
    let send = |value: &str| scene.send(topic, &[(Some("k"), Some(value))]);
    let good = (Some("k"), Some(r#"{"label":1,"amount":2.5}"#));
    scene.send(topic, &[good; 20])?;
    let browser = open(&scene, &mut collector)?;
    browser.wait_for("#lines", "20 rows", SOON)?;
    send(&json!({"label": 1, HOSTILE: 7}).to_string())?;
    send("no JSON")?;
    browser.wait_for("#section", HOSTILE, SOON)?;
    browser.wait_for("#section", "invalid_json", SOON)?;
    let data_set = until("all rows", SOON, || {
        let data_set = read_data_set(&scene.data_set())?;
        Ok((data_set.rows.len() == 21).then_some(data_set))
    })?;
    let shown = until("all files on the page", SOON, || {
        let shown = rows(&browser, "[aria-label='Last files']")?;
        Ok((shown.len() == data_set.files.len()).then_some(shown))
    })?;
    let mut paths: Vec<&str> = shown.iter().map(|row| row[1].as_str()).collect();
    paths.sort_unstable();
    let files = data_set
        .files
        .iter()
        .filter_map(|file| file.file_name()?.to_str());
    assert_eq!(paths, files.collect::<Vec<_>>());
    let sum: usize = shown.iter().map(|row| row[3].parse().unwrap_or(0)).sum();
    assert_eq!(sum, data_set.rows.len());
    let columns = rows(&browser, "[aria-label='Columns']")?;
    assert_eq!(columns, [["label", "double"], ["amount", "double"]]);
    assert_unharmed(&browser)
}

#[test]
fn a_look_up_equals_redis() -> Result<()> {
    if !browser::is_there() {
        return Ok(());
    }
    let scene = Scene::new("page-user", 1)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    let browser = open(&scene, &mut featurizer)?;
    for amount in [2.5, 7.25, 0.125] {
        let event = json!({"user_id": HOSTILE, "amount": amount}).to_string();
        scene.send(&scene.names.user_events, &[(Some(HOSTILE), Some(&event))])?;
    }
    let key = scene.names.features_key(HOSTILE);
    let stored = until("the features", SOON, || {
        let stored: HashMap<String, String> =
            redis::cmd("HGETALL").arg(&key).query(&mut scene.redis()?)?;
        Ok((stored
            .get("purchase_count_24h")
            .is_some_and(|count| count == "3"))
        .then_some(stored))
    })?;
    let look_up = |id: &str| {
        browser.value(&format!(
            "(() => {{ document.querySelector('#user-id').value = {id:?}; \
             document.querySelector('#user button').click(); }})()"
        ))
    };
    look_up(HOSTILE)?;
    browser.wait_for("#user-outcome", HOSTILE, SOON)?;
    browser.wait_for("#user", "The last 3 of 3 events", SOON)?;
    let shown = rows(&browser, "[aria-label='Values of the user']")?;
    assert_eq!(shown.len(), 4);
    for row in shown {
        assert_eq!(stored.get(&row[0]), Some(&row[1]));
    }
    let events = rows(&browser, "[aria-label='Events of the user']")?;
    let fields: Vec<&str> = events.iter().map(|row| row[1].as_str()).collect();
    assert_eq!(fields, ["amount 0.125", "amount 7.25", "amount 2.5"]);
    let ticks =
        browser.value("document.querySelector('.tick').getAttribute('d').split('M').length - 1")?;
    assert_eq!(ticks, 3);
    look_up("nobody")?;
    browser.wait_for("#user-outcome", "nobody has no features", SOON)?;
    assert_unharmed(&browser)?;
    browser.open("about:blank")?;
    std::thread::sleep(Duration::from_secs(1));
    let answers: Vec<u16> = (0..8)
        .map(|_| Ok(featurizer.page("/user.json?id=nobody")?.0))
        .collect::<Result<_>>()?;
    let refused = answers.iter().filter(|code| **code == 429).count();
    assert!(
        answers.starts_with(&[200; 4]) && refused >= 1,
        "{answers:?}"
    );
    assert_eq!(featurizer.page("/user.json?id=")?.0, 400);
    Ok(())
}
