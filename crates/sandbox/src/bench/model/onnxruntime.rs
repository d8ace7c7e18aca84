//! Times onnxruntime on the same rows, in a Python that has it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use super::answers::Answer;
use super::{BATCHES, Times};

const SCRIPT: &str = include_str!("onnxruntime.py");

#[derive(Serialize)]
struct Job<'a> {
    model: &'a Path,
    rows: &'a [Vec<Option<f64>>],
    batches: [usize; BATCHES.len()],
    seconds: f64,
}

/// Microseconds per row of each model in turn.
///
/// # Errors
///
/// There is no such Python, or it has no onnxruntime, or a model fails in it.
pub(super) fn times(
    python: &Path,
    folder: &Path,
    answers: &BTreeMap<String, Answer>,
    budget: Duration,
) -> Result<Vec<Times>> {
    let mut child = Command::new(python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", python.display()))?;
    let mut jobs = String::new();
    for (name, answer) in answers {
        let job = Job {
            model: &folder.join(name).with_extension("onnx"),
            rows: &answer.rows,
            batches: BATCHES,
            seconds: budget.as_secs_f64(),
        };
        jobs += &serde_json::to_string(&job)?;
        jobs.push('\n');
    }
    let mut input = child.stdin.take().context("the script has no input")?;
    let written = input.write_all(jobs.as_bytes());
    drop(input);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "{} with onnxruntime and numpy ended with {}",
            python.display(),
            output.status
        );
    }
    written?;
    let lines = std::str::from_utf8(&output.stdout)?.lines();
    let times: Vec<Times> = lines
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("reading what the script found")?;
    ensure!(times.len() == answers.len(), "{} times", times.len());
    Ok(times)
}
