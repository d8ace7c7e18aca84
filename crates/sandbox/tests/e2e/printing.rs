//! Output that nobody reads, or that cannot be written: neither is a panic.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use sandbox::harness::{Binaries, Scene};

/// Commands that print without a server, each with its exit code.
const COMMANDS: [(&str, &[&str], i32); 12] = [
    ("featurizer", &["--help"], 0),
    ("featurizer", &["--version"], 0),
    ("featurizer", &["--print-config"], 0),
    ("featurizer", &["doctor", "--connect-timeout", "1s"], 1),
    ("scorer", &["--help"], 0),
    ("scorer", &["--print-config"], 0),
    ("scorer", &["check", "models/fraud.onnx"], 0),
    ("collector", &["--help"], 0),
    ("collector", &["--print-config"], 0),
    ("collector", &["doctor", "--connect-timeout", "1s"], 1),
    ("sandbox", &["--help"], 0),
    ("sandbox", &["bench", "--help"], 0),
];

fn command(program: &str, arguments: &[&str]) -> Result<Command> {
    let path = match program {
        "sandbox" => env!("CARGO_BIN_EXE_sandbox").into(),
        program => Binaries::build()?.path(program),
    };
    let mut command = Command::new(path);
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    command
        .args(arguments)
        .env("KAFKA_BROKERS", "localhost:1")
        .env("REDIS_URL", "redis://localhost:1")
        .current_dir(root)
        .stderr(Stdio::piped());
    Ok(command)
}

/// The exit code of a command whose reader is gone before it prints.
fn unread(command: &mut Command) -> Result<(i32, String)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    let code = output.status.code().context("killed")?;
    Ok((code, String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// The exit code of a command that prints to a full disk.
fn full(command: &mut Command) -> Result<(i32, String)> {
    let disk = OpenOptions::new().write(true).open("/dev/full")?;
    let output = command.stdout(disk).output()?;
    let code = output.status.code().context("killed")?;
    Ok((code, String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() -> Result<()> {
    for (program, arguments, code) in COMMANDS {
        let (found, said) = unread(&mut command(program, arguments)?)?;
        assert_eq!(found, code, "{program} {arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    Ok(())
}

#[test]
fn a_full_disk_is_named() -> Result<()> {
    for (program, arguments, _) in COMMANDS {
        let (found, said) = full(&mut command(program, arguments)?)?;
        assert_eq!(found, 1, "{program} {arguments:?}: {said}");
        assert!(said.contains("standard output cannot be written"), "{said}");
    }
    Ok(())
}

#[test]
fn standard_error_that_nobody_reads_is_no_panic() -> Result<()> {
    for program in ["featurizer", "scorer", "collector", "sandbox"] {
        let mut child = command(program, &["--nonsense"])?.spawn()?;
        drop(child.stderr.take());
        assert_eq!(child.wait()?.code(), Some(64), "{program}");
    }
    Ok(())
}

#[test]
fn reports_of_the_stack_end_quietly_too() -> Result<()> {
    let scene = Scene::new("printing", 1)?;
    let topic = &scene.names.user_events;
    for arguments in [
        &["produce", topic, "{}"][..],
        &["consume", topic, "--until-end"],
        &["dead-letters", topic],
    ] {
        let mut command = command("sandbox", arguments)?;
        let (_, said) = unread(command.env("KAFKA_BROKERS", &scene.brokers))?;
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
    Ok(())
}
