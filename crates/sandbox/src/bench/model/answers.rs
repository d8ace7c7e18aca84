//! onnxruntime's answers from when the models were made, and their comparison with the scorer's.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use scorer::model::{Input, Manifest, Output, Session, Source, Transform};
use serde::Deserialize;

/// A model's rows, and onnxruntime's scores of them.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    output: Option<String>,
    index: Option<usize>,
    transform: String,
    columns: usize,
    /// Rows of numbers; a missing number is null.
    pub(super) rows: Vec<Vec<Option<f64>>>,
    /// Scores; one that is not finite is null.
    scores: Vec<Option<f64>>,
}

/// The comparison of a model's scores with onnxruntime's.
#[derive(Debug)]
pub(super) struct Found {
    /// The largest difference; relative for numbers above 1.
    pub(super) difference: f64,
    /// Rows on the same side of 0.5.
    pub(super) decisions: usize,
}

/// The answers in `folder` of models whose names contain `only`.
pub(super) fn read(folder: &Path, only: &str) -> Result<BTreeMap<String, Answer>> {
    let path = folder.join("answers.json");
    let named = || format!("reading {}", path.display());
    let text = fs::read_to_string(&path).with_context(named)?;
    let mut answers: BTreeMap<String, Answer> = serde_json::from_str(&text).with_context(named)?;
    answers.retain(|name, _| name.contains(only));
    Ok(answers)
}

impl Answer {
    /// The numbers of all rows, one row after the other.
    pub(super) fn numbers(&self) -> Vec<f64> {
        let numbers = self.rows.iter().flatten();
        numbers.map(|number| number.unwrap_or(f64::NAN)).collect()
    }

    /// Columns of a row.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// A manifest for the model.
    pub(super) fn manifest(&self) -> Manifest {
        // The names that make.py gives to tensors of one column.
        let names = [
            "amount",
            "hour_of_day",
            "is_international",
            "merchant_risk_score",
        ];
        let name = |at: usize| names.get(at).map_or(format!("x{at}"), |n| (*n).to_owned());
        let inputs = (0..self.columns).map(|at| Input {
            name: name(at),
            from: Source::Event,
            default: None,
            max_stale_ms: None,
        });
        Manifest {
            output: Output {
                name: self.output.clone(),
                index: self.index,
                transform: match self.transform.as_str() {
                    "sigmoid" => Transform::Sigmoid,
                    _ => Transform::None,
                },
                ..Output::default()
            },
            inputs: inputs.collect(),
            ..Manifest::default()
        }
    }

    /// Scores all rows, and compares.
    pub(super) fn compare(&self, session: &mut Session) -> Result<Found> {
        let mut scores = Vec::new();
        session.score(&self.numbers(), &mut scores);
        ensure!(
            scores.len() == self.scores.len(),
            "{} scores for {} rows",
            scores.len(),
            self.scores.len()
        );
        let mut found = Found {
            difference: 0.0,
            decisions: 0,
        };
        for (ours, theirs) in scores.iter().zip(&self.scores) {
            let difference = match theirs {
                Some(theirs) if ours.is_finite() => (ours - theirs).abs() / theirs.abs().max(1.0),
                None if !ours.is_finite() => 0.0,
                _ => f64::INFINITY,
            };
            found.difference = found.difference.max(difference);
            let same = theirs.is_none_or(|theirs| (*ours > 0.5) == (theirs > 0.5));
            found.decisions += usize::from(same);
        }
        Ok(found)
    }
}
