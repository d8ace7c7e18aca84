//! Runs a loaded model on batches of rows; each worker has its own session.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::{anyhow, ensure};
use tract_onnx::prelude::*;

use super::layout::{Kind, Slot};
use super::load::Loaded;
use super::manifest::Transform;

/// Rows run at once: enough to be fast, few enough that what lies between layers stays in the cache.
const CHUNK: usize = 256;

/// A model with the memory it runs in.
pub struct Session {
    plan: Arc<TypedRunnableModel>,
    state: TypedSimpleState,
    slots: Vec<Slot>,
    width: usize,
    element: Option<usize>,
    transform: Transform,
    /// The most rows that the graph is run with at once.
    chunk: usize,
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
            width: model.manifest.inputs.len(),
            element: model.manifest.output.index,
            transform: model.manifest.output.transform,
            chunk: if model.single { 1 } else { CHUNK },
        })
    }

    /// Appends the score of each row of `inputs` (rows one after the other) to `scores`, after the
    /// transform. A row that the model fails on scores not a number.
    pub fn score(&mut self, inputs: &[f64], scores: &mut Vec<f64>) {
        for rows in inputs.chunks(self.chunk * self.width) {
            if let Err(error) = self.run_once(rows, scores) {
                self.score_one_by_one(rows, &error, scores);
            }
        }
    }

    /// Finds the rows that made a run fail, so that the others are scored all the same.
    fn score_one_by_one(&mut self, rows: &[f64], error: &anyhow::Error, scores: &mut Vec<f64>) {
        tracing::warn!("the model failed on a batch, running its rows one by one: {error:#}");
        for row in rows.chunks(self.width) {
            if self.run_once(row, scores).is_err() {
                scores.push(f64::NAN);
            }
        }
    }

    /// As [`Session::score`], but fails where the model fails on a row.
    ///
    /// # Errors
    ///
    /// The model fails, panics, or answers with another number of rows.
    pub fn run(&mut self, inputs: &[f64], scores: &mut Vec<f64>) -> anyhow::Result<()> {
        inputs
            .chunks(self.chunk * self.width)
            .try_for_each(|rows| self.run_once(rows, scores))
    }

    /// Runs the graph once. Appends nothing where it fails.
    fn run_once(&mut self, rows: &[f64], scores: &mut Vec<f64>) -> anyhow::Result<()> {
        let count = rows.len() / self.width;
        let tensors = self
            .slots
            .iter()
            .map(|slot| tensor(slot, rows, self.width, count));
        let tensors = tensors.collect::<anyhow::Result<TVec<TValue>>>()?;
        let state = &mut self.state;
        let outcome = catch_unwind(AssertUnwindSafe(|| state.run(tensors)))
            .unwrap_or_else(|_| Err(anyhow!("the model panicked")));
        let outputs = match outcome {
            Ok(outputs) => outputs,
            Err(error) => {
                // A run that broke off leaves its values behind.
                self.state = TypedSimpleState::new(&self.plan)?;
                return Err(error);
            }
        };
        let output = outputs
            .first()
            .ok_or_else(|| anyhow!("the model gave no output"))?;
        let numbers = output.cast_to::<f64>()?;
        let numbers = numbers.try_as_plain_ram()?;
        let numbers = numbers.as_slice::<f64>()?;
        // Of a graph that is run with one row all of the answer is that row's, if it has no dimensions.
        let rows_first = match output.shape() {
            [] => self.chunk == 1,
            [first, ..] => *first == count,
        };
        ensure!(
            rows_first && !numbers.is_empty(),
            "the output's first dimension must be the batch: its shape is {:?} for {count} rows; export it \
             with the rows first",
            output.shape()
        );
        let elements = numbers.len() / count;
        let element = self.element.unwrap_or(elements - 1);
        ensure!(
            element < elements,
            "output.index is {element}, the model's rows have {elements} elements"
        );
        let picked = numbers.iter().skip(element).step_by(elements);
        scores.extend(picked.map(|x| self.transform.apply(*x)));
        Ok(())
    }
}

/// The columns of one slot as the tensor that the graph takes.
fn tensor(slot: &Slot, rows: &[f64], width: usize, count: usize) -> anyhow::Result<TValue> {
    let shape = if slot.vector {
        vec![count]
    } else {
        vec![count, slot.columns.len()]
    };
    let values = rows
        .chunks_exact(width)
        .flat_map(|row| slot.columns.iter().map(|at| row[*at]));
    let tensor = match slot.kind {
        Kind::F32 => Tensor::from_shape(&shape, &values.map(|x| x as f32).collect::<Vec<_>>()),
        Kind::F64 => Tensor::from_shape(&shape, &values.collect::<Vec<_>>()),
        Kind::I64 => Tensor::from_shape(&shape, &values.map(|x| x as i64).collect::<Vec<_>>()),
        Kind::I32 => Tensor::from_shape(&shape, &values.map(|x| x as i32).collect::<Vec<_>>()),
        Kind::Bool => Tensor::from_shape(&shape, &values.map(|x| x != 0.0).collect::<Vec<_>>()),
    };
    Ok(tensor?.into_tvalue())
}
