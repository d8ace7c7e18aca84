//! Reports of what a stack holds, for people and for programs.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use sandbox::harness::{Binaries, Names, Scene, until};
use serde_json::{Value, json};

use crate::collector::labeled;
use crate::operations::PAYMENT;
use crate::{SOON, assert_ends};

/// Three predictions, one dead letter, and a data set of five rows and one reject.
struct Filled {
    scene: Scene,
    model: String,
    data: String,
}

impl Filled {
    fn new() -> Result<Filled> {
        let scene = Scene::new("reports", 1)?;
        let names = &scene.names;
        let payment = (Some("t_1"), Some(PAYMENT));
        let bad = (Some("t_2"), Some("{\"transaction_id\":\"t_2\"}"));
        scene.send(&names.transactions, &[payment, payment, bad, payment])?;
        let labels: Vec<String> = (0..5).map(labeled).collect();
        let labels = labels.iter().map(|label| (None, Some(label.as_str())));
        let labels: Vec<_> = labels.chain([(None, Some("oops"))]).collect();
        scene.send(&names.labeled_events, &labels)?;
        let mut scorer = scene.scorer("scorer", &[])?;
        let letters = Names::dead_letters(&names.transactions);
        until("three predictions and a dead letter", SOON, || {
            let count = |topic| scene.read(topic).map_or(0, |found| found.len());
            let done = count(&names.predictions) == 3 && count(&letters) == 1;
            Ok(done.then_some(()))
        })?;
        assert!(scorer.terminate()?.success());
        let collector = scene.collector("collector", &["--until-end"])?;
        assert_ends(collector, 0, &[])?;
        Ok(Filled {
            model: scene.model()?.display().to_string(),
            data: scene.data_set().display().to_string(),
            scene,
        })
    }

    /// Every report, as a program and its arguments.
    fn reports(&self) -> [(&'static str, Vec<&str>); 6] {
        let names = &self.scene.names;
        let replay = [
            "replay",
            "--from",
            "0",
            "--model",
            &self.model,
            "--output-topic",
            &names.predictions,
        ];
        [
            ("collector", vec!["verify", &self.data]),
            ("collector", vec!["inspect", &self.data]),
            ("scorer", replay.to_vec()),
            ("sandbox", vec!["dead-letters", &names.transactions]),
            (
                "sandbox",
                vec!["consume", &names.transactions, "--until-end"],
            ),
            ("collector", vec!["rejects", &self.data]),
        ]
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Result<Command> {
        let path = match program {
            "sandbox" => PathBuf::from(env!("CARGO_BIN_EXE_sandbox")),
            program => Binaries::build()?.path(program),
        };
        let mut command = Command::new(path);
        command
            .args(arguments)
            .env("KAFKA_BROKERS", &self.scene.brokers)
            .env("COLUMNS", "80")
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        Ok(command)
    }

    fn told(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(program, arguments)?.output()?;
        let said = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{program} {arguments:?}: {said}");
        Ok(String::from_utf8(stdout)?)
    }

    /// A report as JSON.
    fn json(&self, number: usize) -> Result<Vec<Value>> {
        let (program, mut arguments) = self.reports()[number].clone();
        arguments.push("--json");
        let text = self.told(program, &arguments)?;
        let documents = serde_json::Deserializer::from_str(&text).into_iter();
        Ok(documents.collect::<Result<_, _>>()?)
    }
}

#[test]
fn programs_get_reports_as_json() -> Result<()> {
    let filled = Filled::new()?;
    let names = &filled.scene.names;
    let (topic, letters) = (
        &names.transactions,
        Names::dead_letters(&names.transactions),
    );

    let whole = json!({"files": 1, "rows": 5, "rejected": 1, "lost_offsets": 0, "faults": []});
    assert_eq!(filled.json(0)?, [whole]);

    let view = &filled.json(1)?[0];
    let mut partition = view["partitions"][0].clone();
    assert!(partition["bytes"].take().as_u64() > Some(0));
    let expected = json!({
        "topic": names.labeled_events, "partition": 0, "first": 0, "next": 6, "files": 1, "rows": 5, "rejected": 1,
        "lost_offsets": 0, "bytes": null,
    });
    assert_eq!(partition, expected);
    let columns = view["schema"]["columns"].as_array().context("no columns")?;
    let amount = json!({"name": "amount", "type": "Float64", "json_text": []});
    assert!(columns.contains(&amount), "{columns:?}");
    assert_eq!(view["misfits"], json!({}));

    let replay = &filled.json(2)?[0];
    for (name, expected) in [
        ("topic", json!(names.predictions)),
        ("from", json!("1970-01-01T00:00:00Z")),
        ("compared", json!(3)),
        ("same_model", json!(3)),
        ("differing", json!(0)),
        ("raised", json!([])),
        ("without_receipt", json!(0)),
        ("complete", json!(true)),
    ] {
        assert_eq!(replay[name], expected, "{name}");
    }

    let found = filled.json(3)?;
    assert_eq!(found.len(), 1);
    let letter = &found[0];
    for (name, expected) in [
        ("topic", json!(letters)),
        ("key", json!("t_2")),
        ("value", json!("{\"transaction_id\":\"t_2\"}")),
        ("headers", json!([])),
        ("group", json!(names.scorer_group)),
        ("reason", json!("missing_field")),
        ("binary", json!("scorer")),
        ("sent_back", json!(false)),
    ] {
        assert_eq!(letter[name], expected, "{name}");
    }
    let mut source = letter["source"].clone();
    assert!(source["timestamp_ms"].take().is_i64());
    let expected = json!({"topic": topic, "partition": 0, "offset": 2, "timestamp_ms": null});
    assert_eq!(source, expected);

    let records = filled.json(4)?;
    let places: Vec<_> = records
        .iter()
        .map(|record| record["offset"].clone())
        .collect();
    assert_eq!(places, [0, 1, 2, 3]);
    assert_eq!(records[0]["value"], json!(PAYMENT));
    Ok(())
}

#[test]
fn rejects_of_the_collector_can_be_mended_and_sent_again() -> Result<()> {
    let filled = Filled::new()?;
    let topic = &filled.scene.names.labeled_events;
    let rejects = ["rejects", filled.data.as_str()];
    let line: Value = serde_json::from_str(&filled.told("collector", &rejects)?)?;
    for (name, expected) in [
        ("topic", json!(topic)),
        ("partition", json!(0)),
        ("offset", json!(5)),
        ("key", json!(null)),
        ("value", json!("oops")),
        ("reason", json!("invalid_json")),
    ] {
        assert_eq!(line[name], expected, "{name}");
    }
    let mended = labeled(5);
    filled.scene.send(topic, &[(None, Some(&mended))])?;
    assert_ends(filled.scene.collector("again", &["--until-end"])?, 0, &[])?;
    let whole = json!({"files": 2, "rows": 6, "rejected": 1, "lost_offsets": 0, "faults": []});
    assert_eq!(filled.json(0)?, [whole]);
    Ok(())
}

/// A bar at a terminal, on standard error; nothing of it in a pipe.
#[test]
fn a_long_report_shows_its_progress_at_a_terminal_only() -> Result<()> {
    let filled = Filled::new()?;
    let (program, arguments) = &filled.reports()[0];
    let command = filled.command(program, arguments)?;
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.display())).collect();
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &words.join(" "), "/dev/null"]);
    let output = terminal.stdin(Stdio::null()).output()?;
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        shown.contains(" 1/1 ") && shown.contains("whole"),
        "{shown}"
    );
    for (program, arguments) in filled.reports() {
        let piped = filled.command(program, &arguments)?.output()?;
        let said = String::from_utf8_lossy(&piped.stderr);
        assert!(!said.contains("/s "), "{program} {arguments:?}: {said}");
    }
    Ok(())
}

#[test]
fn people_get_reports_that_fit_and_end_quietly() -> Result<()> {
    let filled = Filled::new()?;
    for (program, arguments) in filled.reports() {
        let what = format!("{program} {arguments:?}");
        let text = filled.told(program, &arguments)?;
        assert!(!text.contains('\u{1b}'), "{what}: {text}");
        if arguments[0] == "inspect" {
            let long = text.lines().find(|line| line.chars().count() > 80);
            assert_eq!(long, None, "{what}: {text}");
        }
        let ways: &[&[&str]] = match arguments[0] {
            "rejects" => &[&[]],
            _ => &[&[], &["--json"]],
        };
        for more in ways {
            let arguments = [&arguments, *more].concat();
            let mut unread = filled.command(program, &arguments)?;
            let mut unread = unread.stdout(Stdio::piped()).spawn()?;
            drop(unread.stdout.take());
            let output = unread.wait_with_output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{what}: {said}");
            let mut full = filled.command(program, &arguments)?;
            let disk = OpenOptions::new().write(true).open("/dev/full")?;
            let output = full.stdout(disk).output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{what}: {said}");
            let reason = "standard output cannot be written";
            assert!(said.contains(reason), "{what}: {said}");
        }
    }
    Ok(())
}
