//! Tells the crate which commit it is built from, for `--version`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Its last line changes with each commit and checkout.
    if let Some(log) = git(&[
        "rev-parse",
        "--path-format=absolute",
        "--git-path",
        "logs/HEAD",
    ]) {
        println!("cargo::rerun-if-changed={log}");
    }
    let commit = git(&["log", "-1", "--format=commit %h of %cs"]);
    println!(
        "cargo::rustc-env=BUILT_FROM={}",
        commit.as_deref().unwrap_or("no commit")
    );
}

/// The answer of git; nothing outside of a checkout.
fn git(words: &[&str]) -> Option<String> {
    let answer = Command::new("git").args(words).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let text = text.trim();
    (answer.status.success() && !text.is_empty()).then(|| text.to_owned())
}
