//! `LinearClassifier` and `LinearRegressor`, with onnxruntime's binary layout and post-transforms.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::post::{PostTransform, logistic};
use super::rowwise::{Numbers, Rows, rowwise, single};

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// `x * coefficients + intercept` for each target.
#[derive(Debug)]
struct Linear {
    /// Target after target, each a number for each column.
    coefficients: Vec<f32>,
    intercepts: Vec<f32>,
}

impl Linear {
    fn new(node: &NodeProto, targets: usize) -> TractResult<Self> {
        let coefficients: Vec<f32> = node.get_attr_vec("coefficients")?;
        let intercepts: Vec<f32> = node.get_attr_opt_vec("intercepts")?.unwrap_or_default();
        let whole = !coefficients.is_empty() && coefficients.len().is_multiple_of(targets);
        ensure!(
            whole,
            "{} coefficients for {targets} targets",
            coefficients.len()
        );
        let fit = intercepts.is_empty() || intercepts.len() == targets;
        ensure!(fit, "{} intercepts for {targets} targets", intercepts.len());
        let intercepts = if intercepts.is_empty() {
            vec![0.0; targets]
        } else {
            intercepts
        };
        Ok(Linear {
            coefficients,
            intercepts,
        })
    }

    fn check(&self, width: usize) -> TractResult<()> {
        let columns = self.coefficients.len() / self.intercepts.len();
        ensure!(
            width == columns,
            "there are coefficients for {columns} columns, not for {width}"
        );
        Ok(())
    }

    fn run(&self, row: &[f32], targets: &mut [f32]) {
        let coefficients = self.coefficients.chunks_exact(row.len());
        for ((target, coefficients), intercept) in
            targets.iter_mut().zip(coefficients).zip(&self.intercepts)
        {
            *target = intercept
                + row
                    .iter()
                    .zip(coefficients)
                    .map(|(x, c)| x * c)
                    .sum::<f32>();
        }
    }
}

#[derive(Debug)]
struct Classifier {
    linear: Linear,
    labels: Vec<i64>,
    post: PostTransform,
}

pub(super) fn classifier(_: &ParsingContext, node: &NodeProto) -> Built {
    let whole: Vec<i64> = node
        .get_attr_opt_vec("classlabels_ints")?
        .unwrap_or_default();
    let texts = node
        .get_attr_opt_tvec::<&str>("classlabels_strings")?
        .map_or(0, |t| t.len());
    let labels = if whole.is_empty() {
        (0..texts as i64).collect()
    } else {
        whole
    };
    let intercepts = node
        .get_attr_opt_vec::<f32>("intercepts")?
        .map_or(labels.len(), |i| i.len());
    let binary = labels.len() == 2 && intercepts == 1;
    ensure!(
        binary || intercepts == labels.len(),
        "{intercepts} targets for other classes"
    );
    let post = post(node)?;
    rowwise(Classifier {
        linear: Linear::new(node, intercepts)?,
        labels,
        post,
    })
}

fn post(node: &NodeProto) -> TractResult<PostTransform> {
    let name = node
        .get_attr_opt::<&str>("post_transform")?
        .unwrap_or("NONE");
    name.parse().map_err(TractError::msg)
}

impl Rows for Classifier {
    fn name(&self) -> &'static str {
        "LinearClassifier"
    }

    fn shape(&self, width: usize) -> TractResult<Vec<usize>> {
        self.linear.check(width)?;
        Ok(vec![self.labels.len()])
    }

    fn labels(&self) -> bool {
        true
    }

    fn run(&self, rows: Numbers<'_>, width: usize, output: &mut [f32], labels: &mut [i64]) {
        let binary = self.linear.intercepts.len() == 1;
        single(rows, |rows| {
            let rows = rows.chunks_exact(width);
            for ((row, scores), label) in rows
                .zip(output.chunks_exact_mut(self.labels.len()))
                .zip(labels)
            {
                self.linear.run(row, scores);
                if binary {
                    let score = scores[0];
                    *label = self.labels[usize::from(score > 0.0)];
                    let second = if self.post == PostTransform::Logistic {
                        logistic(score)
                    } else {
                        score
                    };
                    scores.copy_from_slice(&[1.0 - second, second]);
                } else {
                    *label = self.labels[super::post::largest(scores)];
                    self.post.apply(scores);
                }
            }
        });
    }
}

#[derive(Debug)]
struct Regressor {
    linear: Linear,
    post: PostTransform,
}

pub(super) fn regressor(_: &ParsingContext, node: &NodeProto) -> Built {
    let targets = usize::try_from(node.get_attr_opt::<i64>("targets")?.unwrap_or(1))?;
    rowwise(Regressor {
        linear: Linear::new(node, targets)?,
        post: post(node)?,
    })
}

impl Rows for Regressor {
    fn name(&self) -> &'static str {
        "LinearRegressor"
    }

    fn shape(&self, width: usize) -> TractResult<Vec<usize>> {
        self.linear.check(width)?;
        Ok(vec![self.linear.intercepts.len()])
    }

    fn run(&self, rows: Numbers<'_>, width: usize, output: &mut [f32], _: &mut [i64]) {
        let targets = self.linear.intercepts.len();
        single(rows, |rows| {
            for (row, values) in rows
                .chunks_exact(width)
                .zip(output.chunks_exact_mut(targets))
            {
                self.linear.run(row, values);
                self.post.apply_to_targets(values);
            }
        });
    }
}
