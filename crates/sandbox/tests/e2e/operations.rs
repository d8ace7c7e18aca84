//! The needs of operators: metrics tell the truth, and the configuration is shown.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use sandbox::harness::{Names, Program, Scene, until};
use sandbox::oracle::read_data_set;

use crate::SOON;

/// An event that can be used.
pub(crate) const EVENT: &str = r#"{"user_id":"u_1","amount":2.5}"#;
/// A transaction that can be scored.
pub(crate) const PAYMENT: &str = r#"{"transaction_id":"t_1","user_id":"u_1","amount":1,"hour_of_day":1,"is_international":0,"merchant_risk_score":0.1}"#;

/// The largest value of a metric over its labels; 0 where it is not there.
pub(crate) fn gauge(program: &Program, name: &str) -> Result<f64> {
    let (_, page) = program.page("/metrics")?;
    let own = page.lines().filter(|line| line.starts_with(name));
    let values = own.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    Ok(values.fold(0.0, f64::max))
}

/// Transactional markers and aborted records take offsets that nobody reads.
#[test]
fn lag_is_none_behind_markers_and_aborted_records() -> Result<()> {
    let scene = Scene::new("markers", 1)?;
    let topic = &scene.names.transactions;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .set("transactional.id", topic)
        .create()?;
    producer.init_transactions(SOON)?;
    for commit in [true, false] {
        producer.begin_transaction()?;
        let record = BaseRecord::to(topic).key("t_1").payload(PAYMENT);
        producer.send(record).map_err(|(error, _)| error)?;
        if commit {
            producer.commit_transaction(SOON)?;
        } else {
            producer.flush(SOON)?;
            producer.abort_transaction(SOON)?;
        }
    }
    let mut scorer = scene.scorer("scorer", &[])?;
    scorer.wait_ready()?;
    let named = |page: &str| {
        page.contains(&format!(
            "tidemill_lag_records{{topic=\"{topic}\",partition=\"0\"}} 0"
        ))
    };
    until("the prediction, and no lag", SOON, || {
        let done = scene
            .read(&scene.names.predictions)
            .unwrap_or_default()
            .len()
            == 1;
        let (_, page) = scorer.page("/metrics")?;
        Ok((done && named(&page)).then_some(()))
    })?;
    let committed = sandbox::kafka::committed(&scene.brokers, &scene.names.scorer_group, topic)?;
    assert!(
        committed[&0] < 4,
        "the log ends at 4, the last record that counts lies at 0: {committed:?}"
    );
    assert_eq!(gauge(&scorer, "tidemill_lag_seconds")?, 0.0);
    assert!(scorer.terminate()?.success());
    Ok(())
}

/// Every name in a text that begins as our metrics do.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("tidemill_"))
        .map(str::to_owned)
        .collect()
}

/// The metrics that a page describes and has values of.
fn families(page: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let named = |kind: &'static str| {
        let lines = page.lines().filter_map(move |line| line.strip_prefix(kind));
        lines
            .filter_map(|line| line.split(' ').next())
            .collect::<BTreeSet<_>>()
    };
    (named("# HELP "), named("# TYPE "))
}

#[test]
fn metrics_are_described_documented_shown_and_enough_for_the_alerts() -> Result<()> {
    let scene = Scene::new("metrics", 2)?;
    let names = &scene.names;
    let checkout = scene.model()?;
    let checkout = checkout
        .parent()
        .and_then(std::path::Path::parent)
        .context("no checkout")?;
    let model = checkout.join("crates/scorer/fixtures/history.onnx");
    let topics = [
        &names.user_events,
        &names.transactions,
        &names.labeled_events,
    ];
    for topic in topics {
        let good = if topic == &names.user_events {
            EVENT
        } else {
            PAYMENT
        };
        scene.send(
            topic,
            &[(Some("u_1"), Some(good)), (Some("u_1"), Some("no JSON"))],
        )?;
    }
    let mut all = [
        scene.featurizer("featurizer", &[])?,
        scene.scorer("scorer", &["--model", model.to_str().unwrap()])?,
        scene.collector("collector", &["--max-age", "200ms"])?,
    ];
    for program in &mut all {
        program.wait_ready()?;
    }
    let page = std::fs::read_to_string(checkout.join("docs/reference/metrics.md"))?;
    let documented = names_in(&page);
    let alerts = std::fs::read_to_string(checkout.join("ops/alerts.yaml"))?;
    let exposed = until("all metrics that the alerts look at", SOON, || {
        let mut exposed = BTreeSet::new();
        for program in &all {
            let (_, page) = program.page("/metrics")?;
            let (described, typed) = families(&page);
            let bare: Vec<_> = typed.difference(&described).collect();
            assert!(bare.is_empty(), "no HELP for {bare:?}");
            exposed.extend(typed.into_iter().map(str::to_owned));
        }
        let wanted = names_in(&alerts);
        let mut wanted = wanted.iter().map(|name| name.trim_end_matches("_bucket"));
        Ok(wanted.all(|name| exposed.contains(name)).then_some(exposed))
    })?;
    let undocumented: Vec<_> = exposed.difference(&documented).collect();
    assert!(
        undocumented.is_empty(),
        "not in docs/reference/metrics.md: {undocumented:?}"
    );
    let dashboard = std::fs::read_to_string(checkout.join("ops/grafana/tidemill.json"))?;
    let unseen: Vec<_> = exposed
        .iter()
        .filter(|name| !dashboard.contains(name.as_str()))
        .collect();
    assert!(unseen.is_empty(), "not on the dashboard: {unseen:?}");
    for program in &mut all {
        assert!(gauge(program, "tidemill_ready")? == 1.0);
        assert!(program.terminate()?.success());
    }
    Ok(())
}

/// The sum of the series of a metric with this label; 0 where there are none.
fn sum(page: &str, name: &str, label: &str) -> f64 {
    let own = page.lines().filter_map(|line| line.strip_prefix(name));
    let own = own.filter(|rest| rest.starts_with([' ', '{']) && rest.contains(label));
    own.filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

#[test]
fn the_metrics_of_all_three_have_their_true_values() -> Result<()> {
    let scene = Scene::new("truth", 1)?;
    let names = &scene.names;
    let claim = r#"{"$claim":{"path":"no/such","length":1,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}"#;
    let topics = [
        (&names.user_events, EVENT),
        (&names.transactions, PAYMENT),
        (&names.labeled_events, PAYMENT),
    ];
    for (topic, good) in topics {
        let values = [good, good, "no JSON", good, claim];
        let records = values.map(|value| (Some("u_1"), Some(value)));
        scene.send(topic, &records)?;
    }
    let claims = scene.folder().join("claims");
    std::fs::create_dir(&claims)?;
    let flags = ["--workers", "1", "--claims", claims.to_str().unwrap()];
    let begun = std::time::Instant::now();
    let mut all = [
        scene.featurizer("featurizer", &flags)?,
        scene.scorer("scorer", &flags)?,
        scene.collector("collector", &[&flags[..], &["--max-age", "200ms"]].concat())?,
    ];
    let mut pages = Vec::new();
    for program in &mut all {
        program.wait_ready()?;
        // The whole page at once, so that no number is from before another.
        let page = until("all records, and no lag", SOON, || {
            let (_, page) = program.page("/metrics")?;
            let done = sum(&page, "tidemill_records_total", "") >= 5.0
                && page.contains("tidemill_lag_records{")
                && sum(&page, "tidemill_lag_records", "") == 0.0;
            Ok(done.then_some(page))
        })?;
        let truths = [
            ("tidemill_build_info", "version", 1.0),
            ("tidemill_ready", "", 1.0),
            ("tidemill_lag_records", "partition=\"0\"", 0.0),
            ("tidemill_lag_seconds", "partition=\"0\"", 0.0),
            ("tidemill_rebalances_total", "", 1.0),
            ("tidemill_records_total", "", 5.0),
            ("tidemill_claims_total", "result=\"unusable\"", 1.0),
            ("tidemill_claims_total", "", 1.0),
            ("tidemill_lost_records_total", "", 0.0),
        ];
        for (name, label, truth) in truths {
            assert_eq!(sum(&page, name, label), truth, "{name} {label} in {page}");
        }
        assert!(
            sum(&page, "tidemill_stage_seconds_count", "") > 0.0,
            "{page}"
        );
        for line in page
            .lines()
            .filter(|line| line.starts_with("tidemill_stage_seconds_sum"))
        {
            let took: f64 = line.rsplit_once(' ').context("a value")?.1.parse()?;
            assert!(took <= begun.elapsed().as_secs_f64(), "{line}");
        }
        assert!(program.terminate()?.success());
        pages.push(page);
    }
    let files = read_data_set(&scene.data_set())?.files;
    let bytes = files.iter().map(|file| Ok(file.metadata()?.len()));
    let bytes: u64 = bytes.sum::<Result<_>>()?;
    for (name, label, truth) in [
        ("tidemill_files_total", "", files.len() as f64),
        ("tidemill_file_bytes_total", "", bytes as f64),
        ("tidemill_rows_total", "", 3.0),
        ("tidemill_rejected_total", "reason=\"claim_missing\"", 1.0),
        ("tidemill_rejected_total", "", 2.0),
        ("tidemill_misfits_total", "", 0.0),
        ("tidemill_store_failures_total", "", 0.0),
    ] {
        assert_eq!(sum(&pages[2], name, label), truth, "{name} {label}");
    }
    Ok(())
}

#[test]
fn the_configuration_in_effect_is_shown_without_secrets() -> Result<()> {
    let nobody = "localhost:1";
    let url = format!("redis://user:hunter2@{nobody}");
    let scene = Scene::at(nobody, &url, Names::unique("settings"))?;
    let properties = scene.folder().join("kafka.properties");
    std::fs::write(&properties, "sasl.password=hunter2\nfetch.wait.max.ms=7\n")?;
    let flags = ["--kafka-config", properties.to_str().unwrap()];
    let shown = [&flags[..], &["--print-config"]].concat();
    let logged = [&flags[..], &["--connect-timeout", "100ms"]].concat();
    for (flags, code, label) in [(&shown, 0, "shown"), (&logged, 69, "logged")] {
        for mut program in [
            scene.featurizer(&format!("featurizer-{label}"), flags)?,
            scene.scorer(&format!("scorer-{label}"), flags)?,
            scene.collector(&format!("collector-{label}"), flags)?,
        ] {
            assert_eq!(
                program.wait_for_end(SOON)?.code(),
                Some(code),
                "{}",
                program.output()
            );
            let output = program.output();
            assert!(!output.contains("hunter2"), "{output}");
            for part in [
                "fetch.wait.max.ms",
                "sasl.password",
                "***",
                nobody,
                "connect-timeout",
            ] {
                assert!(output.contains(part), "{part} is not in {output}");
            }
        }
    }
    Ok(())
}
