//! The features as columns of a file, a value for each record.

use super::History;
use arrow::array::{ArrayRef, Float64Array};
use std::sync::Arc;
use tidemill_core::features::{Evaluation, FeatureValue};

/// Feature columns under construction.
pub(crate) struct Columns<'h> {
    history: &'h History,
    /// By feature, in the order of the definitions.
    values: Vec<Vec<Option<f64>>>,
    evaluation: Evaluation,
    unknown: u64,
}

impl<'h> Columns<'h> {
    /// The columns of the features of a history, without a record yet.
    pub(crate) fn of(history: &'h History) -> Self {
        Self {
            history,
            values: vec![Vec::new(); history.question().definitions.features().len()],
            evaluation: Evaluation::default(),
            unknown: 0,
        }
    }

    /// Adds the features of one record; nulls where it does not say whose or as of when, or where records that would
    /// count are deleted or were not read.
    pub(crate) fn push(&mut self, value: &[u8]) {
        let features = self.history.question().definitions.features();
        let Some((user, as_of)) = self.history.asked(value) else {
            self.unknown += 1;
            self.values.iter_mut().for_each(|column| column.push(None));
            return;
        };
        self.history.evaluate(&user, as_of, &mut self.evaluation);
        let mut whole = true;
        for ((feature, value), column) in features
            .iter()
            .zip(&self.evaluation.values)
            .zip(&mut self.values)
        {
            let window = feature.window_ms.unwrap_or(0);
            let known = self.history.covers(as_of, window);
            whole &= known;
            column.push(FeatureValue::number(*value).filter(|_| known));
        }
        self.unknown += u64::from(!whole);
    }

    /// The columns, in the order of the definitions, and how many records have nulls for want of an answer.
    pub(crate) fn finish(self) -> (Vec<ArrayRef>, u64) {
        let arrays = self
            .values
            .into_iter()
            .map(|values| Arc::new(Float64Array::from(values)) as ArrayRef);
        (arrays.collect(), self.unknown)
    }
}
