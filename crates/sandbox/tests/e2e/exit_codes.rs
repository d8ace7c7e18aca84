//! Exit codes: each says whose turn it is, with the text to act on.
//!
//! Those of signals, refusing servers and rare states are with the tests that bring these about: `outages`, `redis_start`,
//! `collector_live`, `scorer`.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use sandbox::harness::{Binaries, Scene};
use tidemill_core::exit::Code;

use crate::{SOON, assert_ends};

/// Nobody listens here.
const NOBODY: &str = "localhost:1";

/// Runs a program whose servers are away.
fn alone(program: &str, arguments: &[&str]) -> Result<(i32, String)> {
    let output = Command::new(Binaries::build()?.path(program))
        .args(arguments)
        .env("KAFKA_BROKERS", NOBODY)
        .env("REDIS_URL", format!("redis://{NOBODY}"))
        .env("TIDEMILL_CONNECT_TIMEOUT", "1s")
        .env("ADMIN_ADDR", "none")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    let code = output.status.code().context("killed")?;
    Ok((code, String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn what_was_written_wrongly_is_64_and_a_server_away_is_69() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let empty = folder.path().to_str().context("not UTF-8")?;
    let model = folder.path().join("bad.onnx");
    fs::write(&model, "this is no model")?;
    let model = model.to_str().context("not UTF-8")?;
    let (finding, usage, away) = (1, Code::Usage as i32, Code::Unreachable as i32);
    let table: [(&str, &[&str], i32, &str); 19] = [
        ("collector", &["verify", "/no/such"], usage, "/no/such"),
        ("collector", &["inspect", "/no/such"], usage, "/no/such"),
        ("collector", &["verify", "s3:/bucket"], usage, "s3:/bucket"),
        ("collector", &["verify", empty], finding, "no data set here"),
        (
            "collector",
            &["inspect", empty],
            finding,
            "no data set here",
        ),
        ("collector", &["verify"], usage, "DIR"),
        ("collector", &["--out", "/proc/no"], usage, "/proc/no"),
        ("collector", &["--out", empty, "--until-end"], away, NOBODY),
        ("collector", &["infer"], away, NOBODY),
        ("collector", &["doctor", "--out", empty], finding, NOBODY),
        (
            "scorer",
            &["check", "/no/such.onnx"],
            usage,
            "/no/such.onnx",
        ),
        ("scorer", &["check", model], finding, "bad  "),
        ("scorer", &["--model", model], usage, "scorer check"),
        ("scorer", &["replay", "--from", "soon"], usage, "--from"),
        ("scorer", &["replay", "--from", "0"], away, NOBODY),
        ("featurizer", &["explain", "u"], away, NOBODY),
        ("featurizer", &["rebuild"], away, NOBODY),
        ("featurizer", &["--features", "/no/such"], usage, "/no/such"),
        ("featurizer", &["nonsense"], usage, "nonsense"),
    ];
    for (program, arguments, expected, says) in table {
        let (code, said) = alone(program, arguments)?;
        assert_eq!(code, expected, "{program} {arguments:?}: {said}");
        assert!(said.contains(says), "{program} {arguments:?}: {said}");
    }
    Ok(())
}

#[test]
fn topics_that_a_bounded_command_needs_are_64_where_they_are_missing() -> Result<()> {
    let scene = Scene::new("missing-topics", 1)?;
    let nowhere = ["--topic", "no-such-topic"];
    let says = ["there is no", "no-such-topic"];
    let with = |command: &[&'static str]| [command, &nowhere].concat();
    for command in [&["--until-end"][..], &["infer"]] {
        let collector = scene.collector(command[0].trim_start_matches('-'), &with(command))?;
        assert_ends(collector, 64, &says)?;
    }
    for command in [&["rebuild"][..], &["explain", "u"]] {
        let featurizer = scene.featurizer(command[0], &with(command))?;
        assert_ends(featurizer, 64, &says)?;
    }
    let replay = Command::new(Binaries::build()?.path("scorer"))
        .args(["replay", "--from", "0", "--output-topic", "no-such-topic"])
        .args(["--brokers", &scene.brokers])
        .env("MODEL_PATH", scene.model()?)
        .output()?;
    let said = String::from_utf8_lossy(&replay.stderr);
    assert_eq!(replay.status.code(), Some(64), "{said}");
    assert!(says.iter().all(|part| said.contains(part)), "{said}");
    Ok(())
}

#[test]
fn the_older_of_two_processes_under_one_instance_ends_with_64() -> Result<()> {
    let scene = Scene::new("one-instance", 1)?;
    let one = ["--instance", "one"];
    let mut older = scene.scorer("older", &one)?;
    older.wait_ready()?;
    let mut newer = scene.scorer("newer", &one)?;
    assert_ends(older, 64, &["another process", "--instance"])?;
    newer.wait_ready()?;
    assert!(newer.terminate()?.success());
    Ok(())
}

#[test]
fn a_stop_is_0_in_every_state_of_a_start() -> Result<()> {
    let away = ["--brokers", NOBODY];
    let absent = ["--topic", "no-such-topic"];
    for (state, flags) in [("brokers", away), ("topic", absent)] {
        let scene = Scene::new(state, 1)?;
        let mut programs = [
            scene.featurizer("featurizer", &flags)?,
            scene.scorer("scorer", &flags)?,
            scene.collector("collector", &flags)?,
        ];
        for program in &mut programs {
            sandbox::harness::until("what is waited for", SOON, || {
                let page = program.page("/readyz").map(|(_, page)| page);
                let page = page.unwrap_or_default();
                let expected = match state {
                    "brokers" => {
                        "waiting for the brokers at localhost:1: localhost:1 refuses connections"
                    }
                    _ => "waiting for topic no-such-topic, which does not exist yet",
                };
                Ok(page.contains(expected).then_some(()))
            })
            .with_context(|| program.output())?;
            let status = program.terminate()?;
            assert!(status.success(), "{status}: {}", program.output());
        }
    }
    Ok(())
}
