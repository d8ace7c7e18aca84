//! The features as columns of a file, a value for each record.

use super::History;
use arrow::array::{ArrayRef, Float64Array};
use serde::Serialize;
use std::sync::Arc;
use tidemill_core::features::{Evaluation, FeatureValue};

/// Rows that have null features for want of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Unknown {
    /// The record does not say of which user, or not as of when.
    pub(crate) unasked: u64,
    /// Events that would count were deleted by retention, or written after the stretch.
    pub(crate) uncovered: u64,
}

impl Unknown {
    /// All of them.
    pub(crate) fn total(self) -> u64 {
        self.unasked + self.uncovered
    }

    /// These and others.
    pub(crate) fn and(self, more: Self) -> Self {
        Self {
            unasked: self.unasked + more.unasked,
            uncovered: self.uncovered + more.uncovered,
        }
    }
}

/// Feature columns under construction.
pub(crate) struct Columns<'h> {
    history: &'h History,
    /// By feature, in the order of the definitions.
    values: Vec<Vec<Option<f64>>>,
    evaluation: Evaluation,
    unknown: Unknown,
}

impl<'h> Columns<'h> {
    /// The columns of the features of a history, without a record yet.
    pub(crate) fn of(history: &'h History) -> Self {
        Self {
            history,
            values: vec![Vec::new(); history.question().definitions.features().len()],
            evaluation: Evaluation::default(),
            unknown: Unknown::default(),
        }
    }

    /// Adds the features of one record; nulls where it does not say whose or as of when, or where records that would
    /// count are deleted or were not read.
    pub(crate) fn push(&mut self, value: &[u8]) {
        let features = self.history.question().definitions.features();
        let Some((user, as_of)) = self.history.asked(value) else {
            self.unknown.unasked += 1;
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
        self.unknown.uncovered += u64::from(!whole);
    }

    /// Records so far that have nulls for want of an answer.
    pub(crate) fn unknown(&self) -> Unknown {
        self.unknown
    }

    /// The columns, in the order of the definitions.
    pub(crate) fn finish(self) -> Vec<ArrayRef> {
        let arrays = self
            .values
            .into_iter()
            .map(|values| Arc::new(Float64Array::from(values)) as ArrayRef);
        arrays.collect()
    }
}
