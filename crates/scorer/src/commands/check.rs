//! `scorer check MODEL`: does it load, what does it take, does it score as its manifest says, how fast.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;
use tidemill_core::exit::Code;
use tidemill_core::printing::tell;

use crate::model::{Input, Loaded, Manifest, Session, Source, load, manifest_path, read_manifest};

/// The batches that are timed, in rows.
const BATCHES: [usize; 3] = [1, 16, 256];

/// How long each batch is timed.
const TIMED: Duration = Duration::from_millis(200);

/// What was found out about a model.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    manifest: Option<String>,
    /// Why the model cannot be used.
    error: Option<String>,
    warnings: Vec<String>,
    sha256: Option<String>,
    threshold: f64,
    inputs: Vec<String>,
    golden: usize,
    latency: Vec<Latency>,
}

#[derive(Debug, Serialize)]
struct Latency {
    rows: usize,
    batch_us: f64,
    row_us: f64,
}

/// Checks the model at `path` and prints what was found, for people or as JSON.
///
/// # Errors
///
/// The report cannot be written.
pub fn check(path: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let report = examine(path);
    let text = if json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        describe(&report)
    };
    tell(&text)?;
    let good = report.error.is_none();
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Code::Usage as u8)
    })
}

fn examine(path: &Path) -> Report {
    let manifest_file = manifest_path(path);
    let mut report = Report {
        model: path.display().to_string(),
        manifest: manifest_file
            .exists()
            .then(|| manifest_file.display().to_string()),
        error: None,
        warnings: Vec::new(),
        sha256: None,
        threshold: Manifest::THRESHOLD,
        inputs: Vec::new(),
        golden: 0,
        latency: Vec::new(),
    };
    let manifest = match read_manifest(path) {
        Ok(manifest) => manifest,
        Err(error) => {
            report.error = Some(format!("{error:#}"));
            return report;
        }
    };
    report.threshold = manifest.threshold;
    report.inputs = manifest.inputs.iter().map(describe_input).collect();
    report.golden = manifest.golden.len();
    report.warnings = warnings(&manifest, report.manifest.is_some());
    let outcome = load(path).and_then(|model| {
        report.latency = time(&model)?;
        report.sha256 = Some(model.sha256);
        Ok(())
    });
    report.error = outcome.err().map(|error| format!("{error:#}"));
    report
}

fn describe_input(input: &Input) -> String {
    let from = match input.from {
        Source::Event => "event",
        Source::Features => "features",
    };
    match input.default {
        Some(default) => format!("{} from {from}, default {default}", input.name),
        None => format!("{} from {from}", input.name),
    }
}

/// What works, but may not be meant.
fn warnings(manifest: &Manifest, there: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if !there {
        warnings.push("there is no manifest: the four default inputs are assumed".to_owned());
    }
    if manifest.golden.is_empty() {
        let what =
            "no golden vectors: a wrong model or column order would go unnoticed; add [[golden]]";
        warnings.push(what.to_owned());
    }
    for input in &manifest.inputs {
        if input.from == Source::Features && input.default.is_none() {
            let name = &input.name;
            warnings.push(format!(
                "feature {name} has no default: where it is missing, 0 is used"
            ));
        }
    }
    warnings
}

fn time(model: &Loaded) -> anyhow::Result<Vec<Latency>> {
    let mut session = Session::new(model)?;
    let width = model.manifest.inputs.len();
    // Golden rows are real ones; without them, rows that are not all the same.
    let golden: Vec<f64> = model
        .manifest
        .golden
        .iter()
        .flat_map(|row| row.input.clone())
        .collect();
    let varied = || {
        (0..width * 64)
            .map(|index| ((index * 37) % 101) as f64 / 10.0)
            .collect()
    };
    let sample: Vec<f64> = if golden.is_empty() { varied() } else { golden };
    let mut latency = Vec::new();
    for rows in BATCHES {
        let batch: Vec<f64> = sample.iter().copied().cycle().take(rows * width).collect();
        let mut scores = Vec::new();
        session.run(&batch, &mut scores)?;
        let (started, mut runs) = (Instant::now(), 0u32);
        while started.elapsed() < TIMED {
            scores.clear();
            session.score(&batch, &mut scores);
            runs += 1;
        }
        let batch_us = started.elapsed().as_secs_f64() * 1e6 / f64::from(runs);
        latency.push(Latency {
            rows,
            batch_us,
            row_us: batch_us / rows as f64,
        });
    }
    Ok(latency)
}

fn describe(report: &Report) -> String {
    let mut lines = vec![
        format!("model      {}", report.model),
        format!(
            "manifest   {}",
            report.manifest.as_deref().unwrap_or("none")
        ),
    ];
    let sha256 = report.sha256.iter();
    lines.extend(sha256.map(|sha256| format!("sha256     {sha256}")));
    lines.push(format!("threshold  {}", report.threshold));
    for (index, input) in report.inputs.iter().enumerate() {
        let head = if index == 0 { "inputs" } else { "" };
        lines.push(format!("{head:10} {input}"));
    }
    for Latency {
        rows,
        batch_us,
        row_us,
    } in &report.latency
    {
        lines.push(format!(
            "batch {rows:4}  {batch_us:9.1} us, {row_us:.2} us a row"
        ));
    }
    let warnings = report.warnings.iter();
    lines.extend(warnings.map(|warning| format!("warning    {warning}")));
    lines.push(match &report.error {
        None if report.golden > 0 => format!("good       {} golden rows agree", report.golden),
        None => "good       it loads".to_owned(),
        Some(error) => format!("bad        {error}"),
    });
    lines.join("\n") + "\n"
}
