//! Runs a loaded model on batches of rows; each worker has its own session.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::{anyhow, bail, ensure};
use tract_onnx::prelude::*;

use super::layout::{Kind, Slot, particular, unfit};
use super::load::Loaded;
use super::manifest::Output;
use super::refusal::INSIDE;

/// The most rows that are run at once: enough to be fast, few enough that what lies between layers stays in the cache.
pub(super) const CHUNK: usize = 256;

/// A model with the memory it runs in.
pub struct Session {
    plan: Arc<TypedRunnableModel>,
    state: TypedSimpleState,
    slots: Vec<Slot>,
    /// The columns that do not take any number.
    particular: Vec<(usize, Kind)>,
    width: usize,
    output: Output,
    /// The most rows that the graph is run with at once.
    chunk: usize,
}

/// A row that the model fails on.
#[derive(Debug, PartialEq)]
pub struct Failure {
    /// Its place among the rows that were scored.
    pub row: usize,
    /// The reason, as the operator that failed has it.
    pub why: String,
}

impl Session {
    /// A session of its own on a model that workers share.
    ///
    /// # Errors
    ///
    /// tract cannot set up the operators' state.
    pub fn new(model: &Loaded) -> anyhow::Result<Self> {
        Ok(Session {
            state: TypedSimpleState::new(&model.plan)?,
            plan: model.plan.clone(),
            slots: model
                .slots
                .iter()
                .filter(|slot| slot.used)
                .cloned()
                .collect(),
            particular: particular(&model.slots),
            width: model.manifest.inputs.len(),
            output: model.manifest.output.clone(),
            chunk: if model.single { 1 } else { CHUNK },
        })
    }

    /// Appends the score of each row of `inputs` (rows one after the other) to `scores`, after the
    /// transform. A row that the model fails on, or does not take, scores not a number. Returns the failures.
    pub fn score(&mut self, inputs: &[f64], scores: &mut Vec<f64>) -> Vec<Failure> {
        let (first, mut failures) = (scores.len(), Vec::new());
        for rows in inputs.chunks(self.chunk * self.width) {
            let unfit: Vec<usize> = self.unfit(rows).map(|(row, _)| row).collect();
            if unfit.is_empty() {
                self.score_fitting(rows, scores, &mut failures);
                continue;
            }
            let (start, mut rows) = (scores.len(), rows.to_vec());
            for row in &unfit {
                rows[row * self.width..][..self.width].fill(0.0);
            }
            self.score_fitting(&rows, scores, &mut failures);
            unfit
                .into_iter()
                .for_each(|row| scores[start + row] = f64::NAN);
        }
        failures.iter_mut().for_each(|failure| failure.row -= first);
        failures
    }

    fn score_fitting(&mut self, rows: &[f64], scores: &mut Vec<f64>, failures: &mut Vec<Failure>) {
        if let Err(error) = self.run_once(rows, scores) {
            self.score_one_by_one(rows, &error, scores, failures);
        }
    }

    /// The rows with a number that its column does not take, and the first such number of each.
    fn unfit<'s>(&'s self, rows: &'s [f64]) -> impl Iterator<Item = (usize, (usize, String))> + 's {
        let none = self.particular.is_empty();
        let rows = rows
            .chunks_exact(self.width)
            .enumerate()
            .filter(move |_| !none);
        rows.filter_map(|(at, row)| Some((at, unfit(&self.particular, row)?)))
    }

    /// Finds the rows that made a run fail, so that the others are scored all the same.
    fn score_one_by_one(
        &mut self,
        rows: &[f64],
        error: &anyhow::Error,
        scores: &mut Vec<f64>,
        failures: &mut Vec<Failure>,
    ) {
        let why = error.root_cause();
        tracing::warn!("the model failed on a batch, running its rows one by one: {why}");
        for row in rows.chunks(self.width) {
            if let Err(error) = self.run_once(row, scores) {
                failures.push(Failure {
                    row: scores.len(),
                    why: error.root_cause().to_string(),
                });
                scores.push(f64::NAN);
            }
        }
    }

    /// As [`Session::score`], but fails where the model fails on a row.
    ///
    /// # Errors
    ///
    /// The model fails, panics, does not take a number, or answers with another number of rows.
    pub fn run(&mut self, inputs: &[f64], scores: &mut Vec<f64>) -> anyhow::Result<()> {
        for rows in inputs.chunks(self.chunk * self.width) {
            if let Some((_, (column, why))) = self.unfit(rows).next() {
                bail!("input {column} {why}");
            }
            self.run_once(rows, scores)?;
        }
        Ok(())
    }

    /// Runs the graph once. Appends nothing where it fails.
    fn run_once(&mut self, rows: &[f64], scores: &mut Vec<f64>) -> anyhow::Result<()> {
        let count = rows.len() / self.width;
        let tensors = self.slots.iter().map(|slot| tensor(slot, rows, self.width));
        let tensors = tensors.collect::<anyhow::Result<TVec<TValue>>>()?;
        let state = &mut self.state;
        let outcome = catch_unwind(AssertUnwindSafe(|| state.run(tensors)))
            .unwrap_or_else(|_| Err(anyhow!("the model panicked")));
        let outputs = match outcome {
            Ok(outputs) => outputs,
            Err(error) => {
                // A run that broke off leaves its values behind.
                self.state = TypedSimpleState::new(&self.plan)?;
                return Err(error.context(INSIDE));
            }
        };
        let output = outputs
            .first()
            .ok_or_else(|| anyhow!("the model gave no output"))?;
        // Of a graph that is run with one row all of the answer is that row's, if it has no dimensions.
        let rows_first = match output.shape() {
            [] => self.chunk == 1,
            [first, ..] => *first == count,
        };
        ensure!(
            rows_first && output.len() > 0,
            "the output's first dimension must be the batch: its shape is {:?} for {count} rows; export it \
             with the rows first",
            output.shape()
        );
        let elements = output.len() / count;
        let element = self.output.index.unwrap_or(elements - 1);
        ensure!(
            element < elements,
            "output.index is {element}, the model's rows have {elements} elements"
        );
        // Most answers are of this type; a cast would take memory for each run.
        if output.datum_type() == f32::datum_type() {
            let numbers = output.try_as_plain_ram()?;
            let picked = numbers.as_slice::<f32>()?.iter().skip(element);
            let picked = picked.step_by(elements).map(|x| f64::from(*x));
            scores.extend(picked.map(|x| self.output.score(x)));
        } else {
            let numbers = output.cast_to::<f64>()?;
            let numbers = numbers.try_as_plain_ram()?;
            let picked = numbers.as_slice::<f64>()?.iter().skip(element);
            scores.extend(picked.step_by(elements).map(|x| self.output.score(*x)));
        }
        Ok(())
    }
}

/// The columns of one slot as the tensor that the graph takes.
fn tensor(slot: &Slot, rows: &[f64], width: usize) -> anyhow::Result<TValue> {
    let shape = [rows.len() / width, slot.columns.len()];
    let shape = if slot.vector { &shape[..1] } else { &shape };
    let values = rows
        .chunks_exact(width)
        .flat_map(|row| slot.columns.iter().map(|at| row[*at]));
    let tensor = match slot.kind {
        Kind::F32 => filled(shape, values.map(|x| x as f32)),
        Kind::F64 => filled(shape, values),
        Kind::I64 => filled(shape, values.map(|x| x as i64)),
        Kind::I32 => filled(shape, values.map(|x| x as i32)),
        Kind::Bool => filled(shape, values.map(|x| x != 0.0)),
    };
    Ok(tensor?.into_tvalue())
}

/// A tensor of these values, written where they stay.
fn filled<T: Datum>(shape: &[usize], values: impl Iterator<Item = T>) -> TractResult<Tensor> {
    let mut tensor = Tensor::zero_dt(T::datum_type(), shape)?;
    let mut place = tensor.try_as_plain_ram_mut()?;
    let place = place.as_slice_mut::<T>()?;
    place
        .iter_mut()
        .zip(values)
        .for_each(|(to, value)| *to = value);
    Ok(tensor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn a_tensor_of_whole_numbers_takes_no_others() {
        let model = fixture("columns_logistic").unwrap();
        let mut session = Session::new(&model).unwrap();
        let hours = [3.0, f64::NAN, 3.5, 1e30, f64::INFINITY, 5.0];
        let rows: Vec<f64> = hours
            .iter()
            .flat_map(|hour| [20.0, *hour, 1.0, 0.5])
            .collect();
        let mut scores = Vec::new();
        session.score(&rows, &mut scores);
        let finite: Vec<bool> = scores.iter().map(|score| score.is_finite()).collect();
        assert_eq!(finite, [true, false, false, false, false, true]);
        assert!(session.run(&rows, &mut Vec::new()).is_err());
        assert_eq!(
            model.unfit(&rows[4..8]).unwrap(),
            "hour_of_day is NaN, where the model takes whole numbers of 64 bits"
        );
        assert_eq!(model.unfit(&rows[..4]), None);
    }
}
