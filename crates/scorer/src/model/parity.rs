//! Tests: every fixture loads and scores as onnxruntime does. `fixtures/make.py` makes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::load::compile_file;
use super::{Input, Manifest, Output, Session, Source, Transform};

/// On probabilities, absolute; on larger numbers relative.
const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Answer {
    output: Option<String>,
    index: Option<usize>,
    transform: String,
    columns: usize,
    rows: Vec<Vec<Option<f64>>>,
    scores: Vec<Option<f64>>,
    /// The output of labels, if they are numbers, and what it says of each row.
    labels: Option<(String, Vec<f64>)>,
}

/// The models, those of the exporters' default operator sets too, with their answers.
fn answers() -> BTreeMap<PathBuf, Answer> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let folders = [fixtures.join("default_opsets"), fixtures];
    let all = folders.into_iter().flat_map(|folder| {
        let text = fs::read_to_string(folder.join("answers.json")).unwrap();
        let answers: BTreeMap<String, Answer> = serde_json::from_str(&text).unwrap();
        answers
            .into_iter()
            .map(move |(name, answer)| (folder.join(name).with_extension("onnx"), answer))
    });
    all.collect()
}

fn manifest(answer: &Answer) -> Manifest {
    let names = [
        "amount",
        "hour_of_day",
        "is_international",
        "merchant_risk_score",
    ];
    let inputs = names[..answer.columns].iter().map(|name| Input {
        name: (*name).to_owned(),
        from: Source::Event,
        default: None,
        max_stale_ms: None,
    });
    let transform = if answer.transform == "sigmoid" {
        Transform::Sigmoid
    } else {
        Transform::None
    };
    Manifest {
        output: Output {
            name: answer.output.clone(),
            index: answer.index,
            transform,
            ..Output::default()
        },
        inputs: inputs.collect(),
        ..Manifest::default()
    }
}

/// The largest difference between our scores and onnxruntime's.
fn difference(file: &Path, answer: &Answer) -> anyhow::Result<f64> {
    let bytes = fs::read(file)?;
    let model = compile_file(&bytes, manifest(answer))?;
    let rows = numbers(answer);
    let mut session = Session::new(&model)?;
    let mut together = Vec::new();
    session.score(&rows, &mut together);
    let mut alone = Vec::new();
    for row in rows.chunks(answer.columns) {
        session.run(row, &mut alone)?;
    }
    anyhow::ensure!(
        together.len() == answer.scores.len(),
        "{} scores",
        together.len()
    );
    let both = together.iter().chain(&alone);
    let expected = answer.scores.iter().chain(&answer.scores);
    let differences = both.zip(expected).map(|(ours, theirs)| match theirs {
        Some(theirs) if ours.is_finite() => (ours - theirs).abs() / theirs.abs().max(1.0),
        None if !ours.is_finite() => 0.0,
        _ => f64::INFINITY,
    });
    Ok(differences.fold(0.0, f64::max))
}

/// Rows whose label is another than onnxruntime's.
fn other_labels(file: &Path, answer: &Answer) -> anyhow::Result<usize> {
    let Some((output, labels)) = &answer.labels else {
        return Ok(0);
    };
    let bytes = fs::read(file)?;
    let mut manifest = manifest(answer);
    manifest.output = Output {
        name: Some(output.clone()),
        ..Output::default()
    };
    let model = compile_file(&bytes, manifest)?;
    let mut ours = Vec::new();
    Session::new(&model)?.score(&numbers(answer), &mut ours);
    let pairs = ours.iter().zip(labels);
    Ok(pairs.filter(|(ours, theirs)| ours != theirs).count())
}

fn numbers(answer: &Answer) -> Vec<f64> {
    let numbers = answer.rows.iter().flatten();
    numbers.map(|x| x.unwrap_or(f64::NAN)).collect()
}

/// Models whose operators of tract take another way with one row than with many: close, not equal.
const NOT_BIT_EQUAL: [&str; 0] = [];

#[test]
fn rows_score_bit_for_bit_the_same_alone_together_and_shuffled() {
    let answers = answers();
    let mut unequal = Vec::new();
    for (file, answer) in &answers {
        let bytes = fs::read(file).unwrap();
        let model = compile_file(&bytes, manifest(answer)).unwrap();
        let rows = numbers(answer);
        let rows: Vec<&[f64]> = rows.chunks(answer.columns).collect();
        let mut session = Session::new(&model).unwrap();
        let mut score = |rows: &[&[f64]]| {
            let mut scores = Vec::new();
            session.run(&rows.concat(), &mut scores).unwrap();
            scores
                .iter()
                .map(|score| score.to_bits())
                .collect::<Vec<_>>()
        };
        let alone: Vec<u64> = rows.iter().flat_map(|row| score(&[row])).collect();
        // A step that shares no divisor with the number of rows visits each once.
        let steps = [1, 7, 11, 13]
            .into_iter()
            .filter(|step| !rows.len().is_multiple_of(*step) || *step == 1);
        let equal = steps
            .flat_map(|step| [2, 5, 31, 32, rows.len()].map(|batch| (step, batch)))
            .all(|(step, batch)| {
                let order: Vec<usize> = (0..rows.len()).map(|at| at * step % rows.len()).collect();
                order.chunks(batch).all(|order| {
                    let rows: Vec<&[f64]> = order.iter().map(|at| rows[*at]).collect();
                    score(&rows) == order.iter().map(|at| alone[*at]).collect::<Vec<_>>()
                })
            });
        if !equal {
            unequal.push(file.display().to_string());
        }
    }
    assert_eq!(unequal, NOT_BIT_EQUAL);
}

#[test]
fn every_fixture_labels_as_in_onnxruntime() {
    let answers = answers();
    let labelled = answers.values().filter(|a| a.labels.is_some()).count();
    assert!(labelled > 30, "{labelled} models with labels");
    for (file, answer) in &answers {
        let other = other_labels(file, answer).map_err(|error| format!("{error:#}"));
        assert_eq!(other, Ok(0), "{}", file.display());
    }
}

#[test]
fn every_fixture_scores_as_in_onnxruntime() {
    let answers = answers();
    let mut failed = 0;
    for (file, answer) in &answers {
        let outcome = difference(file, answer);
        let good = outcome
            .as_ref()
            .is_ok_and(|difference| *difference <= TOLERANCE);
        failed += usize::from(!good);
        match outcome {
            Ok(difference) => println!("{difference:.1e} {}", file.display()),
            Err(error) => println!("{error:#} {}", file.display()),
        }
    }
    assert_eq!(failed, 0, "of {} models", answers.len());
}
