//! The command lines that a person types: help, versions, completions, `validate`, and variables that nothing reads.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use sandbox::harness::Binaries;
use tidemill_core::command_line::VARIABLES;

const PROGRAMS: [&str; 3] = ["featurizer", "scorer", "collector"];

fn program(name: &str) -> Result<Command> {
    let mut command = match name {
        "sandbox" => Command::new(env!("CARGO_BIN_EXE_sandbox")),
        name => Command::new(Binaries::build()?.path(name)),
    };
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    Ok(command)
}

fn run(name: &str, arguments: &[&str]) -> Result<Output> {
    Ok(program(name)?.args(arguments).output()?)
}

fn printed(name: &str, arguments: &[&str]) -> Result<String> {
    let output = run(name, arguments)?;
    let said = String::from_utf8(output.stderr)?;
    assert!(output.status.success(), "{name} {arguments:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The words of a help text that begin like this, to the first character that no name has.
fn names(help: &str, begin: &str) -> BTreeSet<String> {
    let part = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-');
    let after = help.match_indices(begin).map(|(at, _)| &help[at..]);
    let name = |text: &str| text.chars().take_while(|char| part(*char)).collect();
    after.map(name).collect()
}

#[test]
fn every_variable_of_the_flags_is_known_and_no_other() -> Result<()> {
    let mut found = BTreeSet::new();
    for name in PROGRAMS {
        found.extend(names(&printed(name, &["--help"])?, "TIDEMILL_"));
    }
    let known: BTreeSet<String> = VARIABLES.iter().copied().map(String::from).collect();
    assert_eq!(found, known);
    Ok(())
}

#[test]
fn subcommands_show_their_own_flags() -> Result<()> {
    let flags = |name, command| -> Result<BTreeSet<String>> {
        let mut flags = names(&printed(name, &[command, "--help"])?, "--");
        flags.retain(|flag| flag != "--help" && flag != "--log-format");
        Ok(flags)
    };
    let expect = |flags: &[&str]| flags.iter().copied().map(String::from).collect();
    assert_eq!(flags("collector", "inspect")?, expect(&["--json"]));
    let reach = [
        "--brokers",
        "--kafka-config",
        "--connect-timeout",
        "--group",
        "--topic",
        "--json",
    ];
    assert_eq!(flags("collector", "verify")?, expect(&reach));
    assert_eq!(flags("scorer", "check")?, expect(&["--json"]));
    let rebuild = flags("featurizer", "rebuild")?;
    for flag in ["--partition", "--redis-url", "--key-prefix", "--features"] {
        assert!(rebuild.contains(flag), "{flag} is not in {rebuild:?}");
    }
    assert!(
        rebuild
            .iter()
            .all(|flag| flag != "--workers" && flag != "--takeover")
    );
    let output = run(
        "collector",
        &["inspect", "x", "--workers", "2", "--rows", "1"],
    )?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(
        said.contains("collector inspect does not use --workers, --rows"),
        "{said}"
    );
    let (short, long) = (printed("scorer", &["-h"])?, printed("scorer", &["--help"])?);
    assert!(names(&short, "--").is_subset(&names(&long, "--")));
    assert!(
        short.contains("--topic") && !short.contains("--commit-share"),
        "{short}"
    );
    Ok(())
}

/// The subcommands in a help text: each begins its line two columns in.
fn subcommands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  "));
    let names = names.filter(|line| line.starts_with(char::is_alphabetic));
    let names = names.filter_map(|line| line.split(' ').next());
    names
        .filter(|name| *name != "help")
        .map(String::from)
        .collect()
}

/// Every command with its subcommands, however deep.
fn all_commands() -> Result<Vec<(&'static str, Vec<String>)>> {
    let mut open: Vec<(&'static str, Vec<String>)> = PROGRAMS
        .into_iter()
        .chain(["sandbox"])
        .map(|name| (name, Vec::new()))
        .collect();
    let mut all = Vec::new();
    while let Some((program, words)) = open.pop() {
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        arguments.push("--help");
        for name in subcommands(&printed(program, &arguments)?) {
            open.push((program, words.iter().cloned().chain([name]).collect()));
        }
        all.push((program, words));
    }
    Ok(all)
}

#[test]
fn every_command_bears_nonsense_closed_pipes_full_disks_and_80_columns() -> Result<()> {
    let all = all_commands()?;
    assert!(all.len() > 30, "{all:?}");
    for (name, words) in all {
        let what = format!("{name} {words:?}");
        let with = |flag: &str| -> Result<Command> {
            let mut command = program(name)?;
            command.args(&words).arg(flag).env("COLUMNS", "80");
            command.stdin(Stdio::null()).stderr(Stdio::piped());
            Ok(command)
        };
        let nonsense = with("--nonsense")?.output()?;
        let said = String::from_utf8_lossy(&nonsense.stderr);
        assert_eq!(nonsense.status.code(), Some(64), "{what}: {said}");
        assert!(said.contains("--nonsense"), "{what}: {said}");
        for flag in ["-h", "--help"] {
            let help = with(flag)?.output()?;
            let text = String::from_utf8(help.stdout)?;
            let long = text.lines().find(|line| line.chars().count() > 80);
            assert_eq!(long, None, "{what} {flag}");
            assert!(!text.contains('\u{1b}'), "{what} {flag}: colours in a pipe");
        }
        let mut unread = with("--help")?.stdout(Stdio::piped()).spawn()?;
        drop(unread.stdout.take());
        assert_eq!(unread.wait()?.code(), Some(0), "{what}");
        let disk = fs::OpenOptions::new().write(true).open("/dev/full")?;
        let full = with("--help")?.stdout(disk).output()?;
        assert_eq!(full.status.code(), Some(1), "{what}");
    }
    Ok(())
}

#[test]
fn versions_name_commit_and_kafka_client() -> Result<()> {
    let mut git = Command::new("git");
    let git = git.args(["log", "-1", "--format=commit %h of %cs"]);
    let answer = git.current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let answer = answer.ok().filter(|answer| answer.status.success());
    // Outside of a checkout there is none.
    let commit = match answer {
        Some(answer) => String::from_utf8(answer.stdout)?,
        None => "no commit".to_owned(),
    };
    for name in PROGRAMS.iter().chain(&["sandbox"]) {
        let text = printed(name, &["--version"])?;
        let (version, commit) = (env!("CARGO_PKG_VERSION"), commit.trim());
        let begin = format!("{name} {version} ({commit}, librdkafka 2.");
        assert!(
            text.starts_with(&begin),
            "{begin:?} does not begin {text:?}"
        );
    }
    Ok(())
}

#[test]
fn completions_are_a_script_that_bash_reads() -> Result<()> {
    for name in PROGRAMS.iter().chain(&["sandbox"]) {
        let script = printed(name, &["completions", "bash"])?;
        assert!(script.contains(&format!("complete -F _{name}")), "{script}");
        let mut bash = Command::new("bash");
        let mut bash = bash.arg("-n").stdin(Stdio::piped()).spawn()?;
        bash.stdin
            .take()
            .context("no pipe")?
            .write_all(script.as_bytes())?;
        assert!(bash.wait()?.success(), "{name}");
        for shell in ["zsh", "fish"] {
            assert!(
                printed(name, &["completions", shell])?.contains(name),
                "{shell}"
            );
        }
        assert_eq!(run(name, &["completions", "dos"])?.status.code(), Some(64));
    }
    Ok(())
}

#[test]
fn a_set_up_is_checked_without_a_server() -> Result<()> {
    for name in PROGRAMS {
        let text = printed(name, &["validate", "--brokers", "localhost:1"])?;
        assert!(text.starts_with("ok  "), "{text}");
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("bad.toml");
    fs::write(
        &file,
        "[[feature]]\nname = \"n\"\nagregate = \"count\"\nwindow = \"1h\"\n",
    )?;
    let file = file.to_str().context("not UTF-8")?;
    for (name, arguments, says) in [
        ("featurizer", ["--features", file], "did you mean aggregate"),
        ("scorer", ["--model", "/no/such.onnx"], "/no/such.onnx"),
        ("collector", ["--schema", "/no/such.json"], "/no/such.json"),
    ] {
        for way in ["validate", "--print-config"] {
            let output = run(name, &[&[way][..], &arguments].concat())?;
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(64), "{name} {way}: {said}");
            assert!(said.contains(says), "{says:?} is not in: {said}");
        }
    }
    Ok(())
}

#[test]
fn a_variable_that_nothing_reads_is_told() -> Result<()> {
    for name in PROGRAMS {
        let mut command = program(name)?;
        let output = command
            .arg("validate")
            .env("TIDEMILL_WROKERS", "3")
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let expected = "TIDEMILL_WROKERS has no effect: did you mean TIDEMILL_WORKERS?";
        assert!(said.contains(expected), "{said}");
    }
    Ok(())
}
