//! `scorer check MODEL`: does it load, where do inputs and score lie in it, what does it score, how fast.

mod report;
mod warnings;

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tidemill_core::exit::Failure;
use tidemill_core::printing::{tell_json, tell_report};

use self::report::{Latency, Report, Scores};
use self::warnings::Range;
use crate::model::{
    Input, Loaded, Manifest, Picked, Place, Session, Source, load, manifest_path, read_manifest,
};

/// The batches that are timed, in rows.
const BATCHES: [usize; 3] = [1, 16, 256];

/// The time for which each batch is measured.
const TIMED: Duration = Duration::from_millis(200);

/// Checks the model at `path` and prints what was found, for people or as JSON. The exit code is 1 where it cannot be used.
///
/// # Errors
///
/// There is no such file, or the report cannot be written.
pub fn check(path: &Path, json: bool) -> anyhow::Result<ExitCode> {
    File::open(path)
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))?;
    let report = examine(path);
    match json {
        true => tell_json(&report)?,
        false => tell_report(&report.describe())?,
    }
    Ok(if report.error.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn examine(path: &Path) -> Report {
    let file = manifest_path(path);
    let there = file.exists();
    let mut report = Report {
        model: path.display().to_string(),
        manifest: there.then(|| file.display().to_string()),
        threshold: Manifest::THRESHOLD,
        ..Report::default()
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
    report.warnings = warnings::of_manifest(&manifest, there);
    let outcome = load(path).and_then(|model| try_out(&model, &mut report));
    report.error = outcome.err().map(|error| format!("{error:#}"));
    report
}

/// Adds what a loaded model tells.
fn try_out(model: &Loaded, report: &mut Report) -> anyhow::Result<()> {
    let (manifest, places, picked) = (&model.manifest, model.places(), model.picked()?);
    report.sha256 = Some(model.sha256.clone());
    for (line, place) in report.inputs.iter_mut().zip(&places) {
        *line += &describe_place(place);
    }
    report.output = Some(describe_output(manifest, &picked));
    let golden: Vec<f64> = manifest
        .golden
        .iter()
        .flat_map(|row| row.input.clone())
        .collect();
    let varied = model.varied_rows();
    report.independent_rows = varied.len() / manifest.inputs.len();
    let mut session = Session::new(model)?;
    let mut all = Vec::new();
    for (rows, inputs) in [("golden", &golden), ("made-up", &varied)] {
        let mut scores = Vec::new();
        session.score(inputs, &mut scores);
        let range = Range::of(&scores);
        report.scores.push(Scores {
            rows: rows.to_owned(),
            count: scores.len(),
            without: scores.iter().filter(|score| !score.is_finite()).count(),
            least: range.map(|range| range.least),
            most: range.map(|range| range.most),
        });
        all.extend(scores);
    }
    report.scores.retain(|scores| scores.count > 0);
    report
        .warnings
        .extend(warnings::of_places(manifest, &places));
    report
        .warnings
        .extend(warnings::of_class(manifest, &picked));
    if let Some(range) = Range::of(&all) {
        report.warnings.extend(warnings::of_scores(manifest, range));
    }
    // Golden rows are real ones; without them, rows that are not all the same.
    let sample = if golden.is_empty() { varied } else { golden };
    report.latency = time(&mut session, &sample, manifest.inputs.len())?;
    Ok(())
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

fn describe_place(place: &Place) -> String {
    let column = place
        .column
        .map_or(String::new(), |column| format!("[{column}]"));
    let how = if place.by_name { "name" } else { "order" };
    let whole = if place.whole { ", whole numbers" } else { "" };
    let used = if place.used {
        ""
    } else {
        ", the score does not depend on it"
    };
    format!(" -> {}{column} by {how}{whole}{used}", place.tensor)
}

fn describe_output(manifest: &Manifest, picked: &Picked) -> String {
    let class = picked.classes.get(picked.element);
    let class = class.map_or(String::new(), |class| format!(", class {class:?}"));
    let lower = if manifest.output.lower_is_worse {
        ", negated"
    } else {
        ""
    };
    format!(
        "{}, element {} of {} (from 0){class}{lower}, transform {}",
        picked.output,
        picked.element,
        picked.elements,
        manifest.output.transform.name()
    )
}

/// Times batches of rows of the sample.
fn time(session: &mut Session, sample: &[f64], width: usize) -> anyhow::Result<Vec<Latency>> {
    let mut latency = Vec::new();
    for rows in BATCHES {
        let batch: Vec<f64> = sample.iter().copied().cycle().take(rows * width).collect();
        let mut scores = Vec::new();
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The report on a fixture with a manifest of its own.
    fn report(fixture: &str, manifest: &str) -> Report {
        let folder = tempfile::tempdir().unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let file = folder.path().join("m.onnx");
        fs::copy(fixtures.join(fixture).with_extension("onnx"), &file).unwrap();
        fs::write(manifest_path(&file), manifest).unwrap();
        let report = examine(&file);
        assert_eq!(report.error, None);
        report
    }

    fn assert_warned(report: &Report, words: &str) {
        let found = report
            .warnings
            .iter()
            .any(|warning| warning.contains(words));
        assert!(found, "{words} is not in {:?}", report.warnings);
    }

    #[test]
    fn inputs_output_and_scores_are_told() {
        let report = report("columns_logistic", "threshold = 0.5\n");
        assert_eq!(
            report.inputs[1],
            "hour_of_day from event -> hour_of_day by name, whole numbers"
        );
        let output = report.output.unwrap();
        assert!(
            output.contains("element 1 of 2 (from 0), class \"1\""),
            "{output}"
        );
        assert_eq!(report.independent_rows, report.scores[0].count);
        assert!(report.scores[0].least < report.scores[0].most);
        assert_eq!(report.sha256.unwrap().len(), 64);
    }

    #[test]
    fn what_can_hardly_be_meant_is_warned_of() {
        let forest = report(
            "isolation_forest",
            "threshold = 0.5\n[output]\nname = \"scores\"\n",
        );
        assert_warned(&forest, "nothing would be a fraud");
        assert_warned(&forest, "lower_is_worse");
        let turned = "threshold = 0\n[output]\nname = \"scores\"\nlower_is_worse = true\n";
        let turned = report("isolation_forest", turned);
        let (before, after) = (&forest.scores[0], &turned.scores[0]);
        assert_eq!(before.least.map(|score| -score), after.most);
        assert_warned(&report("logistic", "threshold = 85\n"), "in percent");
        let missing = "amount hour_of_day is_international merchant_risk_score".split(' ');
        let missing = missing.map(|name| format!("[[input]]\nname = \"{name}\"\ndefault = nan\n"));
        let missing = report("columns_logistic", &missing.collect::<String>());
        assert_warned(
            &missing,
            "hour_of_day has a default that is no whole number",
        );
        assert_warned(
            &report("text_labels", ""),
            "which class is fraud is not obvious",
        );
    }
}
