//! The common part of `TreeEnsembleClassifier` and `TreeEnsembleRegressor`: the trees, and the numbers
//! added to their sums.

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::rowwise::Numbers;
use crate::model::trees::{Aggregate, Forest, Node, Parts};

/// Trees, and how their sums begin.
#[derive(Debug)]
pub(super) struct Ensemble {
    forest: Forest,
    /// One for each output of the trees, or none.
    base: Vec<f32>,
}

impl Ensemble {
    pub(super) fn new(
        roots: &[Node],
        outputs: usize,
        aggregate: Aggregate,
        base: &[f64],
    ) -> TractResult<Self> {
        ensure!(
            base.is_empty() || base.len() == outputs,
            "base_values: {} numbers for {outputs} outputs",
            base.len()
        );
        Ok(Ensemble {
            forest: Forest::new(roots, outputs, aggregate),
            base: base.iter().map(|number| *number as f32).collect(),
        })
    }

    /// The number added to the sum of an output.
    pub(super) fn base(&self, output: usize) -> f32 {
        self.base.get(output).copied().unwrap_or(0.0)
    }

    pub(super) fn check(&self, width: usize) -> TractResult<()> {
        let needed = self.forest.columns;
        ensure!(
            width >= needed,
            "the trees compare {needed} columns, they are given {width}"
        );
        Ok(())
    }

    /// The trees' aggregates, without the base. Doubles are compared as such.
    pub(super) fn run(&self, rows: Numbers<'_>, width: usize, sums: &mut [f32]) {
        match rows {
            Numbers::Single(rows) => self.forest.run(rows, width, sums),
            Numbers::Double(rows) => self.forest.run(rows, width, sums),
            Numbers::Whole(rows) => {
                let rows: Vec<f64> = rows.iter().map(|x| *x as f64).collect();
                self.forest.run(&rows, width, sums);
            }
        }
    }
}

/// The trees' parts; `leaves` is what the operator calls its leaves.
pub(super) fn parts<'a>(found: &Attributes<'a>, leaves: &str) -> TractResult<Parts<'a>> {
    Ok(Parts {
        tree_ids: found.wholes("nodes_treeids"),
        node_ids: found.wholes("nodes_nodeids"),
        feature_ids: found.wholes("nodes_featureids"),
        values: found.doubles("nodes_values")?,
        modes: found.texts("nodes_modes"),
        true_ids: found.wholes("nodes_truenodeids"),
        false_ids: found.wholes("nodes_falsenodeids"),
        missing_track_true: found.wholes("nodes_missing_value_tracks_true"),
        leaf_tree_ids: found.wholes(&format!("{leaves}_treeids")).to_vec(),
        leaf_node_ids: found.wholes(&format!("{leaves}_nodeids")).to_vec(),
        leaf_ids: found.wholes(&format!("{leaves}_ids")).to_vec(),
        leaf_weights: found.doubles(&format!("{leaves}_weights"))?,
    })
}
