//! `TreeEnsembleClassifier`, with onnxruntime's binary layouts and post-transforms.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::{Attributes, Built};
use super::post::{PostTransform, largest, logistic};
use super::rowwise::{Numbers, Rows, rowwise};
use super::tree_ensemble::{Ensemble, parts};
use crate::model::trees::{Aggregate, grow};

/// Sums per class, and what is made of them.
#[derive(Debug)]
struct Classifier {
    ensemble: Ensemble,
    labels: Vec<i64>,
    post: PostTransform,
    layout: Layout,
}

/// How the sums stand for the classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// A sum for each class.
    Classes,
    /// One sum, the probability of the second of two classes: all weights are positive.
    Probability,
    /// One sum, the margin of the second of two classes.
    Margin,
}

pub(super) fn classifier(_: &ParsingContext, node: &NodeProto) -> Built {
    let found = Attributes(node);
    let labels = found.labels("classlabels_int64s");
    ensure!(!labels.is_empty(), "the classifier names no classes");
    let parts = parts(&found, "class");
    let single = parts.leaf_ids.windows(2).all(|pair| pair[0] == pair[1]);
    let binary = labels.len() == 2 && single;
    let positive = parts.leaf_weights.iter().all(|weight| *weight >= 0.0);
    let layout = match (binary, positive) {
        (false, _) => Layout::Classes,
        (true, true) => Layout::Probability,
        (true, false) => Layout::Margin,
    };
    let outputs = if binary { 1 } else { labels.len() };
    let mut base = found.doubles("base_values");
    if binary && base.len() == 2 {
        // As onnxruntime: the first of two is not used, one sum being there for the second class.
        base.remove(0);
    }
    let roots = grow(&parts, outputs)?;
    rowwise(Classifier {
        ensemble: Ensemble::new(&roots, outputs, Aggregate::Sum, &base)?,
        labels,
        post: found.post_transform()?,
        layout,
    })
}

impl Rows for Classifier {
    fn name(&self) -> &'static str {
        "TreeEnsembleClassifier"
    }

    fn shape(&self, width: usize) -> TractResult<Vec<usize>> {
        self.ensemble.check(width)?;
        Ok(vec![self.labels.len()])
    }

    fn labels(&self) -> bool {
        true
    }

    fn run(&self, rows: Numbers<'_>, width: usize, output: &mut [f32], labels: &mut [i64]) {
        let classes = self.labels.len();
        if self.layout == Layout::Classes {
            self.ensemble.run(rows, width, output);
            for (scores, label) in output.chunks_exact_mut(classes).zip(labels) {
                for (class, score) in scores.iter_mut().enumerate() {
                    *score += self.ensemble.base(class);
                }
                *label = self.labels[largest(scores)];
                self.post.apply(scores);
            }
            return;
        }
        let mut sums = vec![0.0; labels.len()];
        self.ensemble.run(rows, width, &mut sums);
        for ((sum, scores), label) in sums.iter().zip(output.chunks_exact_mut(2)).zip(labels) {
            let sum = sum + self.ensemble.base(0);
            let limit = if self.layout == Layout::Probability {
                0.5
            } else {
                0.0
            };
            *label = self.labels[usize::from(sum > limit)];
            let pair = match (self.layout, self.post) {
                (Layout::Probability, _) => [1.0 - sum, sum],
                (_, PostTransform::Logistic) => [logistic(-sum), logistic(sum)],
                _ => [-sum, sum],
            };
            scores.copy_from_slice(&pair);
        }
    }
}
