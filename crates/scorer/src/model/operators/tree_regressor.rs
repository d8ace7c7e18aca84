//! `TreeEnsembleRegressor`, with onnxruntime's aggregates and post-transforms.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::{Attributes, Built};
use super::post::PostTransform;
use super::rowwise::{Numbers, Rows, rowwise};
use super::tree_ensemble::{Ensemble, parts};
use crate::model::trees::{Aggregate, grow};

/// Sums per target.
#[derive(Debug)]
struct Regressor {
    ensemble: Ensemble,
    targets: usize,
    /// What the sums are divided by.
    divisor: f32,
    post: PostTransform,
}

pub(super) fn regressor(_: &ParsingContext, node: &NodeProto) -> Built {
    let found = Attributes(node);
    let targets = usize::try_from(found.whole("n_targets").unwrap_or(1))?;
    let parts = parts(&found, "target");
    ensure!(
        (1..=parts.leaf_ids.len()).contains(&targets),
        "{targets} targets for {} weights",
        parts.leaf_ids.len()
    );
    let roots = grow(&parts, targets)?;
    let (aggregate, divisor) = match found.text("aggregate_function") {
        None | Some("SUM") => (Aggregate::Sum, 1.0),
        Some("AVERAGE") => (Aggregate::Sum, roots.len() as f32),
        Some("MIN") => (Aggregate::Min, 1.0),
        Some("MAX") => (Aggregate::Max, 1.0),
        Some(other) => bail!("aggregate_function {other:?} is not known here"),
    };
    let base = found.doubles("base_values");
    rowwise(Regressor {
        ensemble: Ensemble::new(&roots, targets, aggregate, &base)?,
        targets,
        divisor,
        post: found.post_transform()?,
    })
}

impl Rows for Regressor {
    fn name(&self) -> &'static str {
        "TreeEnsembleRegressor"
    }

    fn shape(&self, width: usize) -> TractResult<Vec<usize>> {
        self.ensemble.check(width)?;
        Ok(vec![self.targets])
    }

    fn run(&self, rows: Numbers<'_>, width: usize, output: &mut [f32], _: &mut [i64]) {
        self.ensemble.run(rows, width, output);
        for values in output.chunks_exact_mut(self.targets) {
            for (target, value) in values.iter_mut().enumerate() {
                *value = *value / self.divisor + self.ensemble.base(target);
            }
            self.post.apply_to_targets(values);
        }
    }
}
