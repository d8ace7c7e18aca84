//! The dashboard, the alerts and Prometheus' configuration on a real Prometheus: what people look at has an answer.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use sandbox::harness::{Names, Program, Scene, until};
use sandbox::kafka::Producer;
use sandbox::process::{Launch, Process};
use serde_json::Value;

use crate::SOON;
use crate::operations::{EVENT, PAYMENT};

/// A claim that nothing lies behind.
const CLAIM: &str = r#"{"$claim":{"path":"no/such","length":1,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}"#;

/// True if one is on PATH; if not, says so, and fails where all tests must run.
fn prometheus_is_there() -> bool {
    let there = Command::new("prometheus").arg("--version").output().is_ok();
    if !there {
        eprintln!("skipped: no prometheus on PATH (Debian: apt install prometheus)");
        let is_ci = env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!is_ci, "CI needs prometheus on PATH");
    }
    there
}

/// A Prometheus that scrapes the three programs every second.
struct Prometheus {
    process: Process,
    address: String,
}

impl Prometheus {
    /// Starts it with the configuration of the compose file's profile, but for addresses and intervals.
    fn start(folder: &Path, ops: &Path, programs: &[(&str, &Program)]) -> Result<Prometheus> {
        let mut text = fs::read_to_string(ops.join("prometheus.yaml"))?;
        let mut replace = |old: &str, new: &str| {
            assert!(text.contains(old), "{old} is not in {text}");
            text = text.replace(old, new);
        };
        for (target, program) in programs {
            replace(target, &format!("127.0.0.1:{}", program.admin_port()));
        }
        replace("_interval: 5s", "_interval: 1s");
        let alerts = ops.join("alerts.yaml");
        replace("alerts.yaml", alerts.to_str().context("a path in UTF-8")?);
        fs::write(folder.join("prometheus.yaml"), text)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let address = format!("127.0.0.1:{port}");
        let listen = format!("--web.listen-address={address}");
        let arguments = [
            "--config.file=prometheus.yaml",
            "--storage.tsdb.path=tsdb",
            &listen,
        ];
        let process = Process::spawn(Launch {
            name: "prometheus".into(),
            program: "prometheus".into(),
            arguments: arguments.map(Into::into).to_vec(),
            environment: Vec::new(),
            folder: folder.to_owned(),
            detached: false,
        })?;
        let mut prometheus = Prometheus { process, address };
        let address = prometheus.address.clone();
        let is_up = || get(&address, "/-/ready").is_ok();
        prometheus.process.wait_until(SOON, is_up)?;
        Ok(prometheus)
    }

    /// The values of a query now.
    fn values(&self, query: &str) -> Result<Vec<f64>> {
        let encoded: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let answer = get(&self.address, &format!("/api/v1/query?query={encoded}"))
            .with_context(|| format!("the query {query}"))?;
        let series = answer["data"]["result"].as_array().context("no result")?;
        let value = |series: &Value| series["value"][1].as_str()?.parse().ok();
        Ok(series.iter().filter_map(value).collect())
    }

    /// True if a query has values, and numbers only.
    fn answers(&self, query: &str) -> Result<bool> {
        let values = self.values(query)?;
        Ok(!values.is_empty() && values.iter().all(|value| value.is_finite()))
    }

    /// The rules: name, expression, state.
    fn alerts(&self) -> Result<Vec<(String, String, String)>> {
        let answer = get(&self.address, "/api/v1/rules")?;
        let rules = answer["data"]["groups"][0]["rules"]
            .as_array()
            .context("no rules")?;
        let text = |rule: &Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        for rule in rules {
            ensure!(rule["health"] != "err", "cannot be evaluated: {rule}");
        }
        let told = rules
            .iter()
            .map(|rule| (text(rule, "name"), text(rule, "query"), text(rule, "state")));
        Ok(told.collect())
    }
}

/// The JSON that Prometheus answers; null where it is no JSON.
fn get(address: &str, path: &str) -> Result<Value> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address)?;
    // HTTP 1.0, so that the answer comes in one piece.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200 "), "{status}: {body}");
    Ok(serde_json::from_str(body).unwrap_or_default())
}

/// The dashboard's queries with its variables filled in.
fn queries(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().into_iter().flatten();
    let targets = panels
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let expressions = targets.filter_map(|target| target["expr"].as_str());
    let fill = |text: &str| {
        let text = text
            .replace("$job", ".+")
            .replace("$__rate_interval", "10s");
        text.replace("$__range", "1m")
    };
    expressions.map(fill).collect()
}

/// The query that an alert compares with its bound: it must be there, lest the alert can never fire.
fn compared(expression: &str) -> &str {
    let split = [" > ", " == "]
        .iter()
        .find_map(|operator| expression.rsplit_once(operator));
    split.map_or(expression, |(left, _)| left)
}

/// A few good records for each program, and some that cannot be used.
fn produce(producer: &Producer, names: &Names) -> Result<()> {
    let topics = [
        (&names.user_events, EVENT),
        (&names.transactions, PAYMENT),
        (&names.labeled_events, PAYMENT),
    ];
    for (topic, good) in topics {
        for value in [good, good, good, "no JSON", CLAIM] {
            producer.send(topic, Some(b"u_1"), Some(value.as_bytes()), None)?;
        }
    }
    producer.flush()
}

#[test]
fn every_panel_and_every_alert_has_an_answer() -> Result<()> {
    if !prometheus_is_there() {
        return Ok(());
    }
    let scene = Scene::new("monitoring", 2)?;
    let checkout = scene.model()?;
    let checkout = checkout.ancestors().nth(2).context("no checkout")?;
    let ops = checkout.join("ops");
    let producer = Producer::open(&scene.brokers)?;
    // A burst that is over before anybody looks: its counters begin with it.
    for _ in 0..12 {
        produce(&producer, &scene.names)?;
    }
    let claims = scene.folder().join("claims");
    fs::create_dir(&claims)?;
    let claims = ["--claims", claims.to_str().context("a path in UTF-8")?];
    let model = checkout.join("crates/scorer/fixtures/history.onnx");
    let model = ["--model", model.to_str().context("a path in UTF-8")?];
    let mut featurizer = scene.featurizer("featurizer", &claims)?;
    let mut scorer = scene.scorer("scorer", &[claims, model].concat())?;
    let mut collector = scene.collector("collector", &[claims, ["--max-age", "1s"]].concat())?;
    for program in [&mut featurizer, &mut scorer, &mut collector] {
        program.wait_ready()?;
    }
    let programs = [
        ("featurizer:9101", &featurizer),
        ("scorer:9102", &scorer),
        ("collector:9103", &collector),
    ];
    let prometheus = Prometheus::start(scene.folder(), &ops, &programs)?;
    let text = fs::read_to_string(ops.join("grafana/tidemill.json"))?;
    let mut open = queries(&serde_json::from_str(&text)?);
    assert!(open.len() > 30, "{open:?}");
    for (name, expression, _) in prometheus.alerts()? {
        if name == "TidemillAbsent" {
            assert!(expression.contains("absent"));
        } else {
            open.push(compared(&expression).to_owned());
        }
    }
    let mut unanswered = open.clone();
    let answered = until("an answer to every query", SOON, || {
        produce(&producer, &scene.names)?;
        unanswered.clear();
        for query in &open {
            if !prometheus.answers(query)? {
                unanswered.push(query.clone());
            }
        }
        Ok(unanswered.is_empty().then_some(()))
    });
    answered.with_context(|| format!("no answer to {unanswered:#?}"))?;
    let firing = until("the alerts of the first burst", SOON, || {
        let alerts = prometheus.alerts()?;
        let firing = alerts.into_iter().filter(|(_, _, state)| state == "firing");
        let names: Vec<_> = firing.map(|(name, _, _)| name).collect();
        let are_there = |name: &str| names.iter().any(|found| found == name);
        let all = are_there("TidemillDeadLetters") && are_there("TidemillRejected");
        Ok(all.then_some(names))
    })?;
    assert_eq!(firing, ["TidemillDeadLetters", "TidemillRejected"]);
    if let Some(picture) = env::var_os("TIDEMILL_PICTURE") {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            produce(&producer, &scene.names)?;
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut draw = Command::new("python3");
        draw.arg(ops.join("grafana/draw.py"));
        let status = draw.arg(&prometheus.address).arg(picture).status()?;
        ensure!(status.success(), "the picture could not be drawn");
    }
    Ok(())
}
