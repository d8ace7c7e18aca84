//! `TreeEnsembleClassifier`, with onnxruntime's binary layouts and post-transforms.

use hashbrown::HashSet;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::{Attributes, Built};
use super::post::{PostTransform, logistic};
use super::rowwise::{Numbers, Rows, rowwise};
use super::tree_ensemble::{Ensemble, parts};
use crate::model::trees::{Aggregate, Parts, grow};

/// Sums per class, and what is made of them.
#[derive(Debug)]
struct Classifier {
    ensemble: Ensemble,
    /// Sums of a row, and counts where they are needed.
    outputs: usize,
    classes: Vec<Class>,
    labels: Vec<i64>,
    /// As labels of two classes that both have weights, onnxruntime has 0 and 1 whatever they are called.
    own_labels: bool,
    base: Vec<f32>,
    positive: bool,
    post: PostTransform,
}

/// The place of a class's sum.
#[derive(Clone, Copy, Debug)]
struct Class {
    /// Among the outputs; none if no leaf has a weight for it.
    sum: Option<usize>,
    /// The output that counts the weights, if a row may end in leaves without a weight for it.
    count: Option<usize>,
}

pub(super) fn classifier(_: &ParsingContext, node: &NodeProto) -> Built {
    let found = Attributes(node);
    let labels = found.labels("classlabels_int64s");
    ensure!(!labels.is_empty(), "the classifier names no classes");
    let mut parts = parts(&found, "class")?;
    let positive = parts.leaf_weights.iter().all(|weight| *weight >= 0.0);
    let (classes, outputs) = classes(&mut parts, labels.len())?;
    let single = classes.iter().filter(|class| class.sum.is_some()).count() == 1;
    let base = found.doubles("base_values")?;
    let post = found.post_transform()?;
    let always = classes
        .last()
        .is_some_and(|class| class.sum.is_some() && class.count.is_none());
    ensure!(
        labels.len() != 2 || always || base.len() == 2 || post != PostTransform::Probit,
        "post_transform PROBIT of one sum for two classes has no second score in onnxruntime"
    );
    let roots = grow(&parts, outputs)?;
    rowwise(Classifier {
        ensemble: Ensemble::new(&roots, outputs, Aggregate::Sum, &[])?,
        outputs,
        classes,
        own_labels: single || labels.len() != 2 || !found.texts("classlabels_strings").is_empty(),
        labels,
        base: base.iter().map(|number| *number as f32).collect(),
        positive,
        post,
    })
}

/// Gives each class that has weights an output, and a second one, of counts, if some leaf has none for it.
fn classes(parts: &mut Parts<'_>, count: usize) -> TractResult<(Vec<Class>, usize)> {
    let leaves = parts.tree_ids.iter().zip(parts.node_ids).zip(&parts.modes);
    let leaves: Vec<(i64, i64)> = leaves
        .filter(|(_, mode)| **mode == "LEAF")
        .map(|((tree, node), _)| (*tree, *node))
        .collect();
    let weights = parts
        .leaf_tree_ids
        .iter()
        .zip(&parts.leaf_node_ids)
        .zip(&parts.leaf_ids);
    let mut weighted: HashSet<(i64, i64, i64)> = HashSet::new();
    weighted.extend(weights.map(|((tree, node), class)| (*class, *tree, *node)));
    let (mut classes, mut outputs) = (Vec::new(), 0);
    let mut next = || {
        outputs += 1;
        outputs - 1
    };
    for class in 0..count as i64 {
        let some = parts.leaf_ids.contains(&class);
        let in_all = |tree: i64| {
            let mut of_tree = leaves.iter().filter(|leaf| leaf.0 == tree);
            of_tree.all(|leaf| weighted.contains(&(class, leaf.0, leaf.1)))
        };
        let always = some && parts.tree_ids.first().is_some_and(|tree| in_all(*tree));
        classes.push(Class {
            sum: some.then(&mut next),
            count: (some && !always).then(&mut next),
        });
    }
    let count = parts.leaf_ids.len();
    ensure!(
        parts.leaf_tree_ids.len() == count && parts.leaf_node_ids.len() == count,
        "its lists of leaves differ in length"
    );
    for at in 0..count {
        let class = usize::try_from(parts.leaf_ids[at])
            .ok()
            .and_then(|class| classes.get(class));
        let class: &Class = class.context("a leaf names a class that is not there")?;
        if let Some(count) = class.count {
            parts.leaf_tree_ids.push(parts.leaf_tree_ids[at]);
            parts.leaf_node_ids.push(parts.leaf_node_ids[at]);
            parts.leaf_ids.push(count as i64);
            parts.leaf_weights.push(1.0);
        }
        parts.leaf_ids[at] = class.sum.map_or(0, |sum| sum as i64);
    }
    ensure!(outputs > 0, "no leaf has a weight");
    Ok((classes, outputs))
}

impl Classifier {
    /// Makes scores of a row's sums; returns its label.
    fn finish(&self, sums: &[f32], scores: &mut [f32], has: &mut [bool]) -> i64 {
        for ((class, score), has) in self.classes.iter().zip(&mut *scores).zip(&mut *has) {
            *has = class.sum.is_some() && class.count.is_none_or(|at| sums[at] > 0.0);
            *score = class.sum.map_or(0.0, |at| sums[at]);
        }
        if self.classes.len() == 2 {
            return self.finish_two(scores, has);
        }
        for ((score, has), base) in scores.iter_mut().zip(&mut *has).zip(&self.base) {
            *score += base;
            *has = true;
        }
        let mut best: Option<usize> = None;
        for (class, score) in scores.iter().enumerate().filter(|(class, _)| has[*class]) {
            if best.is_none_or(|best| *score > scores[best]) {
                best = Some(class);
            }
        }
        self.post.apply(scores);
        self.labels[best.unwrap_or(0)]
    }

    /// As onnxruntime has it, a second class without weights, or without any on this row's way, is the
    /// opposite of the first.
    fn finish_two(&self, scores: &mut [f32], has: &[bool]) -> i64 {
        let both = match self.base[..] {
            [_, second] if has[1] => {
                scores[1] = second + scores[0];
                scores[0] = -scores[1];
                true
            }
            [first, _] => {
                scores[0] += first;
                true
            }
            [first] => {
                scores[0] += first;
                has[1]
            }
            _ => has[1],
        };
        let decisive = if has[1] {
            scores[1]
        } else if has[0] {
            scores[0]
        } else {
            0.0
        };
        let single = self
            .classes
            .iter()
            .filter(|class| class.sum.is_some())
            .count()
            == 1;
        let limit = if single && self.positive { 0.5 } else { 0.0 };
        let winner = usize::from(decisive > limit);
        if both {
            // A score that no weight came to counts as none.
            scores
                .iter_mut()
                .zip(has)
                .filter(|(_, has)| !**has)
                .for_each(|(score, _)| *score = 0.0);
            self.post.apply(scores);
        } else {
            let sum = scores[0];
            let pair = match self.post {
                PostTransform::Logistic => [logistic(-sum), logistic(sum)],
                _ if single && self.positive => [1.0 - sum, sum],
                _ => [-sum, sum],
            };
            scores.copy_from_slice(&pair);
        }
        if self.own_labels {
            self.labels[winner]
        } else {
            winner as i64
        }
    }
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

    fn run(
        &self,
        rows: Numbers<'_>,
        width: usize,
        output: &mut [f32],
        labels: &mut [i64],
    ) -> TractResult<()> {
        let classes = self.labels.len();
        let mut sums = vec![0.0; labels.len() * self.outputs];
        self.ensemble.run(rows, width, &mut sums);
        let mut has = vec![false; classes];
        let rows = sums
            .chunks_exact(self.outputs)
            .zip(output.chunks_exact_mut(classes));
        for ((sums, scores), label) in rows.zip(labels) {
            *label = self.finish(sums, scores, &mut has);
        }
        Ok(())
    }
}
