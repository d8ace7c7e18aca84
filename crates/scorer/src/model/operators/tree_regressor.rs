//! `TreeEnsembleRegressor`, and `TreeEnsemble` of ai.onnx.ml 5, with onnxruntime's aggregates and
//! post-transforms.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::{Attributes, Built};
use super::post::PostTransform;
use super::rowwise::{Numbers, Rows, rowwise};
use super::tree_ensemble::{Ensemble, parts};
use crate::model::trees::{Aggregate, Node, PartsFive, grow, grow_five};

/// Sums per target.
#[derive(Debug)]
struct Regressor {
    name: &'static str,
    ensemble: Ensemble,
    targets: usize,
    /// The divisor of the sums.
    divisor: f32,
    post: PostTransform,
}

pub(super) fn regressor(_: &ParsingContext, node: &NodeProto) -> Built {
    let found = Attributes(node);
    let targets = usize::try_from(found.whole("n_targets").unwrap_or(1))?;
    let parts = parts(&found, "target")?;
    ensure!(
        (1..=parts.leaf_ids.len()).contains(&targets),
        "{targets} targets for {} weights",
        parts.leaf_ids.len()
    );
    let aggregate = match found.text("aggregate_function") {
        None | Some("SUM") => Some(Aggregate::Sum),
        Some("AVERAGE") => None,
        Some("MIN") => Some(Aggregate::Min),
        Some("MAX") => Some(Aggregate::Max),
        Some(other) => bail!("aggregate_function {other:?} is not known here"),
    };
    let base = found.doubles("base_values")?;
    let post = found.post_transform()?;
    build(
        "TreeEnsembleRegressor",
        &grow(&parts, targets)?,
        targets,
        aggregate,
        &base,
        post,
    )
}

pub(super) fn ensemble(_: &ParsingContext, node: &NodeProto) -> Built {
    let found = Attributes(node);
    let targets = usize::try_from(found.whole("n_targets").unwrap_or(1))?;
    let parts = PartsFive {
        roots: found.wholes("tree_roots"),
        feature_ids: found.wholes("nodes_featureids"),
        splits: found.tensor_numbers("nodes_splits")?,
        modes: found.tensor_numbers("nodes_modes")?,
        true_ids: found.wholes("nodes_truenodeids"),
        true_leafs: found.wholes("nodes_trueleafs"),
        false_ids: found.wholes("nodes_falsenodeids"),
        false_leafs: found.wholes("nodes_falseleafs"),
        missing_track_true: found.wholes("nodes_missing_value_tracks_true"),
        leaf_target_ids: found.wholes("leaf_targetids"),
        leaf_weights: found.tensor_numbers("leaf_weights")?,
    };
    // onnxruntime 1.32 and ONNX's reference implementation take different branches there.
    ensure!(
        !parts.modes.contains(&6.0),
        "sets of members (BRANCH_MEMBER) are not supported; export it with target_opset={{\"ai.onnx.ml\": 3}}"
    );
    let most = parts.leaf_weights.len().max(1);
    ensure!(
        (1..=most).contains(&targets),
        "{targets} targets for {most} leaves"
    );
    let aggregate = match found.whole("aggregate_function").unwrap_or(1) {
        0 => None,
        1 => Some(Aggregate::Sum),
        2 => Some(Aggregate::Min),
        3 => Some(Aggregate::Max),
        other => bail!("aggregate_function {other} is not known here"),
    };
    ensure!(
        targets == 1 || !matches!(aggregate, Some(Aggregate::Min | Aggregate::Max)),
        "MIN or MAX of several targets is not supported; export it with target_opset={{\"ai.onnx.ml\": 3}}"
    );
    let post = match found.whole("post_transform").unwrap_or(0) {
        0 => PostTransform::None,
        1 => PostTransform::Logistic,
        2 => PostTransform::Softmax,
        3 => PostTransform::SoftmaxZero,
        4 => PostTransform::Probit,
        other => bail!("post_transform {other} is not known here"),
    };
    build(
        "TreeEnsemble",
        &grow_five(&parts, targets)?,
        targets,
        aggregate,
        &[],
        post,
    )
}

/// `aggregate`: none for the average.
fn build(
    name: &'static str,
    roots: &[Node],
    targets: usize,
    aggregate: Option<Aggregate>,
    base: &[f64],
    post: PostTransform,
) -> Built {
    rowwise(Regressor {
        name,
        ensemble: Ensemble::new(roots, targets, aggregate.unwrap_or(Aggregate::Sum), base)?,
        targets,
        divisor: if aggregate.is_none() {
            roots.len() as f32
        } else {
            1.0
        },
        post,
    })
}

impl Rows for Regressor {
    fn name(&self) -> &'static str {
        self.name
    }

    fn shape(&self, width: usize) -> TractResult<Vec<usize>> {
        self.ensemble.check(width)?;
        Ok(vec![self.targets])
    }

    fn run(
        &self,
        rows: Numbers<'_>,
        width: usize,
        output: &mut [f32],
        _: &mut [i64],
    ) -> TractResult<()> {
        self.ensemble.run(rows, width, output);
        for values in output.chunks_exact_mut(self.targets) {
            for (target, value) in values.iter_mut().enumerate() {
                *value = *value / self.divisor + self.ensemble.base(target);
            }
            self.post.apply_to_targets(values);
        }
        Ok(())
    }
}
