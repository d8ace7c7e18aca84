//! Messages about records that newcomers send: the cause, as the dead letter's error, the collector's reject and the
//! doctor have it, and in lists nothing invisible.

use std::fs;
use std::process::Command;

use anyhow::Result;
use sandbox::harness::{Names, Scene, until};
use sandbox::kafka::Producer;
use sandbox::simulate::now_ms;

use crate::SOON;

/// A value and what its error must name, for a program that wants a user_id.
fn cases() -> Vec<(Vec<u8>, &'static str)> {
    let user = br#"{"user_id":"u","amount":1}"#;
    let micros = now_ms() * 1000;
    vec![
        (
            [&[0, 0, 0, 0, 1], &user[..]].concat(),
            "framing of a schema registry",
        ),
        ([b"\xef\xbb\xbf", &user[..]].concat(), "byte order mark"),
        (b"\x1f\x8b\x08\0\0\0\0\0".to_vec(), "begins like gzip"),
        (
            br#"{"schema":{"type":"struct"},"payload":{"user_id":"u","amount":1}}"#.to_vec(),
            "schemas.enable",
        ),
        (
            br#""{\"user_id\":\"u\",\"amount\":1}""#.to_vec(),
            "encoded twice",
        ),
        (
            format!(r#"{{"user_id":"u","timestamp":{micros}}}"#).into(),
            "microseconds",
        ),
        (br#"{"user_id":42.0}"#.to_vec(), "write 42 or"),
        (
            br#"{"user_id":12345678901234567890123}"#.to_vec(),
            "write it as a text",
        ),
        (
            br#"{"userId":"u"}"#.to_vec(),
            r#"there is "userId": rename it"#,
        ),
    ]
}

#[test]
fn dead_letters_name_the_cause() -> Result<()> {
    let scene = Scene::new("causes", 1)?;
    let topic = &scene.names.user_events;
    let producer = Producer::open(&scene.brokers)?;
    let mut cases = cases();
    for (value, _) in &cases {
        producer.send(topic, Some(b"u"), Some(value), None)?;
    }
    let late = format!(r#"{{"user_id":"u","timestamp":{}}}"#, now_ms());
    producer.send(
        topic,
        Some(b"u"),
        Some(late.as_bytes()),
        Some(now_ms() / 1000),
    )?;
    cases.push((late.into(), "gives Kafka seconds"));
    producer.flush()?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    featurizer.wait_ready()?;
    let letters = until("all dead letters", SOON, || {
        let found = scene.read(&Names::dead_letters(topic)).unwrap_or_default();
        Ok((found.len() >= cases.len()).then_some(found))
    })?;
    for (value, cause) in &cases {
        let letter = letters.iter().find(|one| one.value.as_ref() == Some(value));
        let error = letter
            .and_then(|one| one.header("error"))
            .unwrap_or_default();
        assert!(error.contains(cause), "{cause} is not in: {error}");
    }

    let listed = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(["dead-letters", topic, "--samples", "20"])
        .env("KAFKA_BROKERS", &scene.brokers)
        .output()?;
    let listed = String::from_utf8_lossy(&listed.stdout);
    for shown in [r"\u{feff}", r"\u{0}\u{0}\u{0}\u{0}\u{1}", r"\u{1f}\x8b"] {
        assert!(listed.contains(shown), "{shown} is not in: {listed}");
    }
    let invisible = |letter: char| letter != '\n' && (letter.is_control() || letter == '\u{feff}');
    assert!(!listed.contains(invisible), "{listed:?}");

    let mut doctor = scene.featurizer("doctor", &["doctor"])?;
    doctor.wait_for_end(SOON)?;
    let report = doctor.output();
    let clock = report
        .lines()
        .find(|line| line.starts_with("warning  clock"));
    assert!(
        clock.is_some_and(|line| line.contains("decades away, such as 1970-01-2")),
        "{report}"
    );
    Ok(())
}

#[test]
fn rejects_of_the_collector_name_the_cause() -> Result<()> {
    let scene = Scene::new("collected-causes", 1)?;
    let producer = Producer::open(&scene.brokers)?;
    let topic = &scene.names.labeled_events;
    producer.send(topic, None, Some(br#"{"label":1}"#), None)?;
    let unreadable = &cases()[..3];
    for (value, _) in unreadable {
        producer.send(topic, None, Some(value), None)?;
    }
    producer.flush()?;
    let mut collector = scene.collector("collector", &["--until-end"])?;
    assert!(
        collector.wait_for_end(SOON)?.success(),
        "{}",
        collector.output()
    );
    let folder = scene.data_set().join("_rejected");
    let mut rejects = String::new();
    for entry in fs::read_dir(&folder)? {
        rejects.push_str(&fs::read_to_string(entry?.path())?);
    }
    for (_, cause) in unreadable {
        assert!(rejects.contains(cause), "{cause} is not in: {rejects}");
    }
    Ok(())
}

#[test]
fn times_are_read_as_in_records_and_said() -> Result<()> {
    let scene = Scene::new("times", 1)?;
    for (label, at, said) in [
        ("seconds", "1771151400", "2026-02-15T10:30:00Z"),
        ("millis", "1771151400000", "2026-02-15T10:30:00Z"),
        ("date", "2026-02-15", "2026-02-15T00:00:00Z"),
    ] {
        let mut explain = scene.featurizer(label, &["explain", "u_1", "--at", at])?;
        explain.wait_for_end(SOON)?;
        let output = explain.output();
        assert!(output.contains(&format!("--at {at} is {said}")), "{output}");
    }
    for start in ["1771151400", "2h ago", "now"] {
        let mut scorer = scene.scorer(start, &["--start", start, "--print-config"])?;
        assert!(scorer.wait_for_end(SOON)?.success(), "{}", scorer.output());
        assert!(
            scorer.output().contains(&format!("--start {start} is 20")),
            "{}",
            scorer.output()
        );
    }
    Ok(())
}

#[test]
fn levels_and_places_that_are_misspelt_are_refused() -> Result<()> {
    let mut scene = Scene::new("misspelt", 1)?;
    let mut collector = scene.collector("collector", &["--out", "s3:/bucket/data"])?;
    assert_eq!(collector.wait_for_end(SOON)?.code(), Some(64));
    assert!(
        collector.output().contains("two slashes"),
        "{}",
        collector.output()
    );
    scene.environment.push(("RUST_LOG".into(), "inof".into()));
    for mut program in [
        scene.featurizer("featurizer", &[])?,
        scene.scorer("scorer", &[])?,
        scene.collector("levels", &[])?,
    ] {
        assert_eq!(program.wait_for_end(SOON)?.code(), Some(64));
        assert!(
            program.output().contains("inof is no level"),
            "{}",
            program.output()
        );
    }
    Ok(())
}
