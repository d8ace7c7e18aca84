//! `TreeEnsembleClassifier` and `TreeEnsembleRegressor`, with onnxruntime's reading of base values,
//! binary layouts and post-transforms.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{AttributeProto, NodeProto};
use tract_onnx::tract_hir::internal::*;

use super::post::{PostTransform, largest, logistic};
use super::rowwise::{Numbers, Rows, rowwise};
use crate::model::trees::{Aggregate, Attributes, Forest, Node, grow};

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// Trees over single and over double precision numbers: doubles are compared as such.
#[derive(Debug)]
struct Trees {
    single: Forest<f32>,
    double: Forest<f64>,
}

impl Trees {
    fn new(roots: &[Node], outputs: usize, aggregate: Aggregate) -> Self {
        Trees {
            single: Forest::new(roots, outputs, aggregate),
            double: Forest::new(roots, outputs, aggregate),
        }
    }

    fn run(&self, rows: Numbers<'_>, width: usize, sums: &mut [f32]) {
        match rows {
            Numbers::Single(rows) => self.single.run(rows, width, sums),
            Numbers::Double(rows) => self.double.run(rows, width, sums),
        }
    }

    fn check(&self, width: usize) -> TractResult<()> {
        let needed = self.single.columns;
        ensure!(
            width >= needed,
            "the trees compare {needed} columns, they are given {width}"
        );
        Ok(())
    }
}

/// Sums per class, and what is made of them.
#[derive(Debug)]
struct Classifier {
    trees: Trees,
    labels: Vec<i64>,
    /// Added to the sums, one for each output of the trees; empty for none.
    base: Vec<f32>,
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
    let found = Found(node);
    let labels = found.labels();
    ensure!(!labels.is_empty(), "the classifier names no classes");
    let attributes = found.attributes("class");
    let single = attributes
        .leaf_ids
        .windows(2)
        .all(|pair| pair[0] == pair[1]);
    let binary = labels.len() == 2 && single;
    let positive = attributes.leaf_weights.iter().all(|weight| *weight >= 0.0);
    let layout = match (binary, positive) {
        (false, _) => Layout::Classes,
        (true, true) => Layout::Probability,
        (true, false) => Layout::Margin,
    };
    let outputs = if binary { 1 } else { labels.len() };
    let mut base = found.numbers("base_values");
    if binary && base.len() == 2 {
        // As onnxruntime: the first of two is not used, one sum being there for the second class.
        base.remove(0);
    }
    ensure!(
        base.is_empty() || base.len() == outputs,
        "base_values: {} numbers",
        base.len()
    );
    let trees = Trees::new(&grow(&attributes, outputs)?, outputs, Aggregate::Sum);
    let base = base.into_iter().map(|number| number as f32).collect();
    rowwise(Classifier {
        trees,
        labels,
        base,
        post: found.post()?,
        layout,
    })
}

impl Rows for Classifier {
    fn name(&self) -> &'static str {
        "TreeEnsembleClassifier"
    }

    fn shape(&self, width: usize) -> TractResult<Vec<usize>> {
        self.trees.check(width)?;
        Ok(vec![self.labels.len()])
    }

    fn labels(&self) -> bool {
        true
    }

    fn run(&self, rows: Numbers<'_>, width: usize, output: &mut [f32], labels: &mut [i64]) {
        let classes = self.labels.len();
        if self.layout == Layout::Classes {
            self.trees.run(rows, width, output);
            for (scores, label) in output.chunks_exact_mut(classes).zip(labels) {
                for (score, base) in scores.iter_mut().zip(&self.base) {
                    *score += base;
                }
                *label = self.labels[largest(scores)];
                self.post.apply(scores);
            }
            return;
        }
        let mut sums = vec![0.0; labels.len()];
        self.trees.run(rows, width, &mut sums);
        let base = self.base.first().copied().unwrap_or(0.0);
        for ((sum, scores), label) in sums.iter().zip(output.chunks_exact_mut(2)).zip(labels) {
            let sum = sum + base;
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

/// Sums per target.
#[derive(Debug)]
struct Regressor {
    trees: Trees,
    targets: usize,
    base: Vec<f32>,
    /// What the sums are divided by.
    divisor: f32,
    post: PostTransform,
}

pub(super) fn regressor(_: &ParsingContext, node: &NodeProto) -> Built {
    let found = Found(node);
    let targets = usize::try_from(found.get("n_targets").map_or(1, |attribute| attribute.i))?;
    let base: Vec<f32> = found
        .numbers("base_values")
        .into_iter()
        .map(|number| number as f32)
        .collect();
    ensure!(
        base.is_empty() || base.len() == targets,
        "base_values: {} numbers",
        base.len()
    );
    let roots = grow(&found.attributes("target"), targets)?;
    let (aggregate, divisor) = match found.text("aggregate_function").as_deref() {
        None | Some("SUM") => (Aggregate::Sum, 1.0),
        Some("AVERAGE") => (Aggregate::Sum, roots.len() as f32),
        Some("MIN") => (Aggregate::Min, 1.0),
        Some("MAX") => (Aggregate::Max, 1.0),
        Some(other) => bail!("aggregate_function {other:?} is not known here"),
    };
    let trees = Trees::new(&roots, targets, aggregate);
    rowwise(Regressor {
        trees,
        targets,
        base,
        divisor,
        post: found.post()?,
    })
}

impl Rows for Regressor {
    fn name(&self) -> &'static str {
        "TreeEnsembleRegressor"
    }

    fn shape(&self, width: usize) -> TractResult<Vec<usize>> {
        self.trees.check(width)?;
        Ok(vec![self.targets])
    }

    fn run(&self, rows: Numbers<'_>, width: usize, output: &mut [f32], _: &mut [i64]) {
        self.trees.run(rows, width, output);
        for values in output.chunks_exact_mut(self.targets) {
            for (index, value) in values.iter_mut().enumerate() {
                *value = *value / self.divisor + self.base.get(index).unwrap_or(&0.0);
            }
            self.post.apply_to_targets(values);
        }
    }
}

/// A node's attributes by name.
struct Found<'a>(&'a NodeProto);

impl<'a> Found<'a> {
    fn get(&self, name: &str) -> Option<&'a AttributeProto> {
        self.0
            .attribute
            .iter()
            .find(|attribute| attribute.name == name)
    }

    fn whole(&self, name: &str) -> &'a [i64] {
        self.get(name).map_or(&[], |attribute| &attribute.ints)
    }

    /// Numbers of an attribute or, in double precision, of its variant as a tensor.
    fn numbers(&self, name: &str) -> Vec<f64> {
        let tensor = self
            .get(&format!("{name}_as_tensor"))
            .and_then(|found| found.t.as_ref());
        if let Some(tensor) = tensor {
            let raw = tensor.raw_data.chunks_exact(8);
            let raw = raw.filter_map(|bytes| Some(f64::from_le_bytes(bytes.try_into().ok()?)));
            return tensor.double_data.iter().copied().chain(raw).collect();
        }
        let numbers = self
            .get(name)
            .map_or(&[][..], |attribute| &attribute.floats);
        numbers.iter().map(|number| f64::from(*number)).collect()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name)
            .map(|attribute| String::from_utf8_lossy(&attribute.s).into_owned())
    }

    fn post(&self) -> anyhow::Result<PostTransform> {
        self.text("post_transform")
            .as_deref()
            .unwrap_or("NONE")
            .parse()
            .map_err(anyhow::Error::msg)
    }

    /// The classes; texts are numbered, since nothing but their number is of use here.
    fn labels(&self) -> Vec<i64> {
        let whole = self.whole("classlabels_int64s");
        let texts = self
            .get("classlabels_strings")
            .map_or(0, |attribute| attribute.strings.len());
        if whole.is_empty() {
            (0..texts as i64).collect()
        } else {
            whole.to_vec()
        }
    }

    fn attributes(&self, leaves: &str) -> Attributes<'a> {
        let modes = self
            .get("nodes_modes")
            .map_or(&[][..], |attribute| &attribute.strings);
        Attributes {
            tree_ids: self.whole("nodes_treeids"),
            node_ids: self.whole("nodes_nodeids"),
            feature_ids: self.whole("nodes_featureids"),
            values: self.numbers("nodes_values"),
            modes: modes
                .iter()
                .map(|mode| std::str::from_utf8(mode).unwrap_or("?"))
                .collect(),
            true_ids: self.whole("nodes_truenodeids"),
            false_ids: self.whole("nodes_falsenodeids"),
            missing_track_true: self.whole("nodes_missing_value_tracks_true"),
            leaf_tree_ids: self.whole(&format!("{leaves}_treeids")),
            leaf_node_ids: self.whole(&format!("{leaves}_nodeids")),
            leaf_ids: self.whole(&format!("{leaves}_ids")),
            leaf_weights: self.numbers(&format!("{leaves}_weights")),
        }
    }
}
