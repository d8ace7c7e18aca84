//! The sandbox's own program, as the quick start uses it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use anyhow::Result;
use sandbox::harness::Scene;
use sandbox::kafka::{Isolation, read_all};

fn sandbox(scene: &Scene, arguments: &[&str]) -> Result<Output> {
    let output = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(arguments)
        .env("KAFKA_BROKERS", &scene.brokers)
        .current_dir(scene.folder())
        .output()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn what_is_produced_can_be_consumed() -> Result<()> {
    let scene = Scene::new("quick-start", 4)?;
    let topic = format!("words{}", scene.names.suffix);
    let json = r#"{"user_id":"u_12345","amount":49.99}"#;
    let told = sandbox(&scene, &["produce", &topic, "--key", "u_12345", json])?;
    let stored = read_all(&scene.brokers, &topic, Isolation::ReadCommitted)?;
    let partition = stored[0].partition;
    assert_eq!(
        lines(&told),
        [format!(
            "produced to {topic} partition {partition} offset 0"
        )]
    );
    // murmur2("u_12345") as Java clients compute it, modulo 4 partitions.
    assert_eq!(partition, 3);

    let expected = format!("partition {partition} offset 0 key u_12345 {json}");
    let consume = [
        "consume",
        &topic,
        "--group",
        &scene.names.scorer_group,
        "--max",
        "1",
    ];
    assert_eq!(lines(&sandbox(&scene, &consume)?), [expected.as_str()]);
    // The group goes on where it stopped; without a group everything is read again.
    sandbox(&scene, &["produce", &topic, "--key", "u_12345", "--null"])?;
    let erased = format!("partition {partition} offset 1 key u_12345 null");
    assert_eq!(lines(&sandbox(&scene, &consume)?), [erased.as_str()]);
    let all = lines(&sandbox(&scene, &["consume", &topic, "--until-end"])?);
    assert_eq!(all, [expected, erased]);
    Ok(())
}

#[test]
fn a_reader_waits_for_its_topic() -> Result<()> {
    let scene = Scene::new("waits", 1)?;
    let topic = format!("later{}", scene.names.suffix);
    let reader = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(["consume", &topic, "--max", "1"])
        .env("KAFKA_BROKERS", &scene.brokers)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut reader = Guard(reader);
    let errors = reader.0.stderr.take().map(BufReader::new);
    let mut said = String::new();
    errors.unwrap().read_line(&mut said)?;
    assert_eq!(said, format!("there is no topic {topic} yet; waiting\n"));
    sandbox(&scene, &["produce", &topic, "--key", "k", "{}"])?;
    let mut found = String::new();
    let output = reader.0.stdout.take().map(BufReader::new);
    output.unwrap().read_line(&mut found)?;
    assert_eq!(found, "partition 0 offset 0 key k {}\n");
    assert!(reader.0.wait()?.success());
    Ok(())
}

/// A process that a failed test must not leave behind.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.kill().ok();
    }
}

#[test]
fn one_seed_writes_one_file() -> Result<()> {
    let scene = Scene::new("seed", 1)?;
    let simulate = |file: &str, seed: &str| -> Result<Vec<u8>> {
        sandbox(
            &scene,
            &[
                "simulate",
                "--count",
                "500",
                "--span",
                "1h",
                "--start",
                "2026-01-05T00:00:00Z",
                "--seed",
                seed,
                "--to",
                file,
            ],
        )?;
        Ok(fs::read(scene.folder().join(file))?)
    };
    let first = simulate("first.ndjson", "7")?;
    assert_eq!(first, simulate("again.ndjson", "7")?);
    assert_ne!(first, simulate("other.ndjson", "8")?);
    assert_eq!(String::from_utf8(first)?.lines().count(), 500);
    Ok(())
}
