//! The checks of the demo: outputs against the log and the planted truth.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::Result;

use super::Programs;
use super::findings::Findings;
use super::report::Report;
use crate::harness::{Program, Scene, until};
use crate::kafka::Stored;
use crate::oracle::{Watch, compare, histories, read_data_set};
use crate::simulate::{Kind, Written};

/// Time limit for outputs to catch up with the last input.
const CATCH_UP: Duration = Duration::from_secs(60);

/// The model's threshold, as in its manifest.
const THRESHOLD: f64 = 0.85;

/// Minimum precision and recall of a model worth deploying.
const PRECISION: f64 = 0.6;
const RECALL: f64 = 0.3;

/// Below this number of frauds, precision and recall say little.
const FEW: usize = 50;

/// Checks that every payment has exactly one prediction of the documented shape; reports latency and accuracy.
pub(super) fn predictions(
    scene: &Scene,
    watch: Watch,
    written: &Written,
    scorer: &Program,
    (report, findings): (&mut Report, &mut Findings),
) -> Result<()> {
    let count = written.transactions;
    let caught_up = until("all predictions", CATCH_UP, || {
        Ok((watch.count() >= count).then_some(()))
    });
    let transactions = scene.read(&scene.names.transactions)?;
    let predictions = scene.read(&scene.names.predictions)?;
    findings.latency(&watch.waits(&transactions), &predictions)?;
    let latency = watch.finish(&transactions)?;

    let mut scored: HashMap<&[u8], u64> = HashMap::new();
    for prediction in &predictions {
        *scored
            .entry(prediction.key.as_deref().unwrap_or_default())
            .or_default() += 1;
    }
    let once = transactions
        .iter()
        .filter(|record| record.key.as_deref().and_then(|key| scored.get(key)) == Some(&1))
        .count();
    let misshapen = predictions
        .iter()
        .filter(|prediction| !well_shaped(prediction))
        .count();
    let holds = caught_up.is_ok()
        && once == transactions.len()
        && predictions.len() == transactions.len()
        && count == transactions.len() as u64
        && misshapen == 0;
    let mut line = format!(
        "{once} of {} payments scored exactly once",
        transactions.len()
    );
    if misshapen > 0 {
        line.push_str(&format!(
            "; {misshapen} predictions are not of the documented shape"
        ));
    }
    report.add("predictions", holds, vec![line]);

    let text = format!(
        "p50 {} ms, p99 {} ms, slowest {} ms from produce to committed prediction",
        latency.p50_ms, latency.p99_ms, latency.max_ms
    );
    report.add("latency", latency.count == count, vec![text]);
    alerts(&predictions, &written.frauds, scorer, (report, findings));
    Ok(())
}

/// True if the key is the transaction id, there are three fields, and the verdict follows from the score.
fn well_shaped(prediction: &Stored) -> bool {
    let Ok(serde_json::Value::Object(fields)) = prediction.json() else {
        return false;
    };
    let id = fields.get("transaction_id").and_then(|id| id.as_str());
    let score = fields
        .get("fraud_score")
        .and_then(serde_json::Value::as_f64);
    let fraud = fields.get("is_fraud").and_then(serde_json::Value::as_bool);
    let (Some(id), Some(score), Some(fraud)) = (id, score, fraud) else {
        return false;
    };
    // A rounded score of exactly the threshold does not show the unrounded one.
    let verdict = score == THRESHOLD || (score > THRESHOLD) == fraud;
    fields.len() == 3
        && Some(id.as_bytes()) == prediction.key.as_deref()
        && (0.0..=1.0).contains(&score)
        && verdict
}

/// Compares alerts with the planted truth; checks that each is in the scorer's log.
fn alerts(
    predictions: &[Stored],
    frauds: &BTreeMap<String, Kind>,
    scorer: &Program,
    (report, findings): (&mut Report, &mut Findings),
) {
    let alerted = predictions.iter().filter(|prediction| {
        let fraud = prediction
            .json()
            .ok()
            .and_then(|json| json.get("is_fraud")?.as_bool());
        fraud == Some(true)
    });
    let mut found: BTreeMap<Kind, u64> = BTreeMap::new();
    let mut alerts = 0_u64;
    for prediction in alerted {
        alerts += 1;
        let id = prediction
            .key
            .as_deref()
            .and_then(|key| std::str::from_utf8(key).ok());
        if let Some(kind) = id.and_then(|id| frauds.get(id)) {
            *found.entry(*kind).or_default() += 1;
        }
    }
    let right: u64 = found.values().sum();
    findings.alerts(frauds, &found, alerts - right);
    let precision = ratio(right, alerts);
    let recall = ratio(right, frauds.len() as u64);
    let mut lines = vec![format!(
        "precision {precision:.2}, recall {recall:.2}: {alerts} alerts, {right} of {} planted frauds among them",
        frauds.len()
    )];
    for kind in Kind::ALL {
        let planted = frauds.values().filter(|planted| **planted == kind).count();
        lines.push(format!(
            "  {:20} {:3} of {planted}",
            kind.name(),
            found.get(&kind).unwrap_or(&0)
        ));
    }
    let holds = frauds.len() < FEW || (precision >= PRECISION && recall >= RECALL);
    report.add("alerts", holds, lines);

    let logged = scorer
        .output()
        .lines()
        .filter(|line| line.contains("fraud alert"))
        .count() as u64;
    report.add(
        "alert log",
        logged == alerts,
        vec![format!("{logged} of {alerts} alerts in the scorer's log")],
    );
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// Checks that every user's features equal a recomputation from the whole topic.
pub(super) fn features(scene: &Scene, report: &mut Report) -> Result<()> {
    let histories = histories(&scene.read(&scene.names.user_events)?);
    let mut redis = scene.redis()?;
    let mut last = compare(&histories, &mut redis, &scene.names.key_prefix)?;
    // The featurizer may not have caught up yet; differences that remain at the deadline are wrong.
    let _late = until("features to be right", CATCH_UP, || {
        last = compare(&histories, &mut redis, &scene.names.key_prefix)?;
        Ok(last.holds().then_some(()))
    });
    let mut lines = vec![format!(
        "{} of {} users equal to a recomputation from the log",
        last.equal, last.users
    )];
    lines.extend(last.wrong.iter().cloned());
    report.add("features", last.holds(), lines);
    Ok(())
}

/// Checks that SIGTERM ends all three cleanly.
pub(super) fn shutdown(programs: &mut Programs, report: &mut Report) -> Result<()> {
    let mut lines = Vec::new();
    let mut holds = true;
    let all = [
        ("featurizer", &mut programs.featurizer),
        ("scorer", &mut programs.scorer),
        ("collector", &mut programs.collector),
    ];
    for (name, program) in all {
        let outcome = program.terminate();
        if !outcome.as_ref().is_ok_and(|status| status.success()) {
            holds = false;
            lines.push(format!("{name} ended with {outcome:?}"));
        }
    }
    if holds {
        lines.push("all three ended with code 0 after SIGTERM".to_owned());
    }
    report.add("shutdown", holds, lines);
    Ok(())
}

/// Checks that the Parquet files hold each labeled event once, field by field.
pub(super) fn data_set(scene: &Scene, report: &mut Report) -> Result<()> {
    let log = scene.read(&scene.names.labeled_events)?;
    let data_set = read_data_set(&scene.data_set())?;
    let wrong = data_set.differences(&log);
    let mut lines = vec![format!(
        "{} rows in {} files equal to the {} labeled events of the log",
        data_set.rows.len(),
        data_set.files.len(),
        log.len()
    )];
    lines.extend(wrong.iter().take(5).cloned());
    report.add("parquet", wrong.is_empty() && !log.is_empty(), lines);
    Ok(())
}

/// The same while the collector runs on: it writes a short file after `--max-age`.
pub(super) fn data_set_grows(scene: &Scene, report: &mut Report) -> Result<()> {
    let count = scene.read(&scene.names.labeled_events)?.len();
    let _late = until("all rows", CATCH_UP, || {
        let rows = read_data_set(&scene.data_set())?.rows.len();
        Ok((rows >= count).then_some(()))
    });
    data_set(scene, report)
}
