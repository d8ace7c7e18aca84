//! The archive of `just dist`, unpacked on a machine without a checkout.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sandbox::harness::Binaries;
use sandbox::stack::Stack;
use tempfile::TempDir;

/// An unpacked archive.
struct Installed {
    place: TempDir,
    home: PathBuf,
}

impl Installed {
    fn new() -> Result<Installed> {
        let place = tempfile::tempdir()?;
        let programs = Binaries::build()?.path("");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ops/dist.sh");
        let made = Command::new(script)
            .args([programs.as_path(), &place.path().join("out")])
            .output()?;
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
        let told = String::from_utf8(made.stdout)?;
        let archive = Path::new(told.lines().last().context("no archive is named")?);
        let unpacked = Command::new("tar")
            .args(["--extract", "--file"])
            .arg(archive)
            .current_dir(place.path())
            .status()?;
        assert!(unpacked.success());
        let name = archive.file_name().and_then(|name| name.to_str());
        let name = name.and_then(|name| name.strip_suffix(".tar.gz"));
        let home = place.path().join(name.context("no name of an archive")?);
        fs::remove_dir_all(place.path().join("out"))?;
        fs::create_dir(place.path().join("empty"))?;
        Ok(Installed { place, home })
    }

    /// A program in an empty folder, that has nothing of the environment of cargo.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.home.join("bin").join(program));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.place.path())
            .current_dir(self.place.path().join("empty"));
        command
    }

    fn told(&self, program: &str, arguments: &[&str], more: &[(&str, &str)]) -> Result<String> {
        let mut command = self.command(program, arguments);
        let output = command.envs(more.iter().copied()).output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{program} {arguments:?}: {said}");
        Ok(said)
    }
}

#[test]
fn the_archive_works_without_a_checkout() -> Result<()> {
    let installed = Installed::new()?;
    clean_says_what_it_removes_and_how_much(&installed)?;
    let names = |folder: &str| -> Result<BTreeSet<String>> {
        let entries = fs::read_dir(installed.home.join(folder))?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    };
    let programs = ["collector", "featurizer", "sandbox", "scorer"];
    assert_eq!(names("bin")?, programs.map(String::from).into());
    for program in &programs[..2] {
        let unit = format!("tidemill-{program}.service");
        assert!(names("systemd")?.contains(&unit), "{unit}");
    }
    for program in programs {
        let version = installed.told(program, &["--version"], &[])?;
        assert!(version.starts_with(program), "{version}");
    }
    let model = installed.home.join("models/fraud.onnx");
    let model = model.to_str().context("not UTF-8")?;
    installed.told("scorer", &["check", model], &[])?;

    let stack = Stack::shared()?;
    let servers = [
        ("KAFKA_BROKERS", stack.brokers()),
        ("REDIS_URL", stack.redis_url()),
    ];
    let demo = ["demo", "--seconds", "5", "--rate", "100"];
    let said = installed.told("sandbox", &demo, &servers)?;
    assert!(said.contains("all checks hold"), "{said}");
    let state = installed.place.path().join(".local/state/tidemill");
    assert!(state.is_dir(), "{}", state.display());
    Ok(())
}

fn clean_says_what_it_removes_and_how_much(installed: &Installed) -> Result<()> {
    let cache = installed.place.path().join(".cache/tidemill");
    let state = installed.place.path().join(".local/state/tidemill");
    for folder in [&cache, &state] {
        fs::create_dir_all(folder.join("below"))?;
        fs::write(folder.join("below/file"), vec![0; 1_500_000])?;
    }
    let said = installed.told("sandbox", &["clean", "--dry-run"], &[])?;
    assert!(said.contains("3.0 MB  would be removed"), "{said}");
    assert!(cache.is_dir() && state.is_dir());
    // Servers of a process that is alive stay.
    let busy = state.join(format!("run-{}-0", std::process::id()));
    fs::create_dir(&busy)?;
    let refused = installed.command("sandbox", &["clean"]).output()?;
    assert_eq!(refused.status.code(), Some(1));
    fs::remove_dir(&busy)?;
    let said = installed.told("sandbox", &["clean"], &[])?;
    for part in ["1.5 MB  ", "3.0 MB  removed", ".cache/tidemill"] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    assert!(!cache.exists() && !state.exists());
    let said = installed.told("sandbox", &["clean"], &[])?;
    assert!(said.contains("0.0 MB  removed"), "{said}");
    Ok(())
}
