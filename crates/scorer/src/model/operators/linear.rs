//! `LinearClassifier` and `LinearRegressor`, with onnxruntime's binary layout and post-transforms.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::{Attributes, Built};
use super::post::{PostTransform, largest, logistic};
use super::rowwise::{Numbers, Rows, rowwise, single};

/// `x * coefficients + intercept` for each target.
#[derive(Debug)]
struct Linear {
    /// Target after target, each a number for each column.
    coefficients: Vec<f32>,
    intercepts: Vec<f32>,
}

impl Linear {
    fn new(found: &Attributes<'_>, targets: usize) -> TractResult<Self> {
        let coefficients = found.numbers("coefficients").to_vec();
        let intercepts = found.numbers("intercepts").to_vec();
        let whole =
            !coefficients.is_empty() && targets > 0 && coefficients.len().is_multiple_of(targets);
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
    let found = Attributes(node);
    let labels = found.labels("classlabels_ints");
    let intercepts = match found.numbers("intercepts") {
        [] => labels.len(),
        intercepts => intercepts.len(),
    };
    let binary = labels.len() == 2 && intercepts == 1;
    ensure!(
        binary || intercepts == labels.len(),
        "{intercepts} targets for {} classes",
        labels.len()
    );
    let post = found.post_transform()?;
    ensure!(
        !binary || post != PostTransform::Probit,
        "post_transform PROBIT of one target for two classes has no second score in onnxruntime"
    );
    rowwise(Classifier {
        linear: Linear::new(&found, intercepts)?,
        labels,
        post,
    })
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

    fn run(
        &self,
        rows: Numbers<'_>,
        width: usize,
        output: &mut [f32],
        labels: &mut [i64],
    ) -> TractResult<()> {
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
                    *label = self.labels[largest(scores)];
                    self.post.apply(scores);
                }
            }
        });
        Ok(())
    }
}

#[derive(Debug)]
struct Regressor {
    linear: Linear,
    post: PostTransform,
}

pub(super) fn regressor(_: &ParsingContext, node: &NodeProto) -> Built {
    let found = Attributes(node);
    let targets = usize::try_from(found.whole("targets").unwrap_or(1))?;
    rowwise(Regressor {
        linear: Linear::new(&found, targets)?,
        post: found.post_transform()?,
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

    fn run(
        &self,
        rows: Numbers<'_>,
        width: usize,
        output: &mut [f32],
        _: &mut [i64],
    ) -> TractResult<()> {
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
        Ok(())
    }
}
