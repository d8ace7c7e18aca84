//! `SVMRegressor`: support vector regression, and one-class machines.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::{Attributes, Built};
use super::rowwise::{Numbers, Rows, rowwise, single};

/// The likeness of two rows.
#[derive(Clone, Copy, Debug)]
enum Kernel {
    Linear,
    Poly,
    Rbf,
    Sigmoid,
}

#[derive(Debug)]
struct Regressor {
    kernel: Kernel,
    gamma: f32,
    coef0: f32,
    degree: f32,
    /// One after the other; as in onnxruntime, without any the coefficients are the only one.
    vectors: Vec<f32>,
    /// One for each vector.
    coefficients: Vec<f32>,
    rho: f32,
    /// Only the sign is asked for.
    one_class: bool,
}

pub(super) fn regressor(_: &ParsingContext, node: &NodeProto) -> Built {
    let found = Attributes(node);
    let kernel = match found.text("kernel_type").unwrap_or("LINEAR") {
        "LINEAR" => Kernel::Linear,
        "POLY" => Kernel::Poly,
        "RBF" => Kernel::Rbf,
        "SIGMOID" => Kernel::Sigmoid,
        other => bail!("kernel_type {other:?} is not known here"),
    };
    let post = found.text("post_transform").unwrap_or("NONE");
    ensure!(post == "NONE", "post_transform {post:?} is not known here");
    let parameter = |at: usize| found.numbers("kernel_params").get(at).copied();
    let coefficients = found.numbers("coefficients").to_vec();
    let count = found.whole("n_supports").unwrap_or(0);
    let (kernel, vectors, coefficients) = if count > 0 {
        let vectors = found.numbers("support_vectors").to_vec();
        (kernel, vectors, coefficients)
    } else {
        (Kernel::Linear, coefficients, vec![1.0])
    };
    ensure!(
        !vectors.is_empty()
            && !coefficients.is_empty()
            && vectors.len().is_multiple_of(coefficients.len()),
        "{} coefficients for vectors of {} numbers in all",
        coefficients.len(),
        vectors.len()
    );
    rowwise(Regressor {
        kernel,
        gamma: parameter(0).unwrap_or(0.0),
        coef0: parameter(1).unwrap_or(0.0),
        degree: parameter(2).unwrap_or(0.0),
        vectors,
        coefficients,
        rho: found.numbers("rho").first().copied().unwrap_or(0.0),
        one_class: found.whole("one_class").unwrap_or(0) != 0,
    })
}

impl Regressor {
    fn likeness(&self, row: &[f32], vector: &[f32]) -> f32 {
        let pairs = row.iter().zip(vector);
        if let Kernel::Rbf = self.kernel {
            let square: f32 = pairs.map(|(x, v)| (x - v) * (x - v)).sum();
            return (-self.gamma * square).exp();
        }
        let dot: f32 = pairs.map(|(x, v)| x * v).sum();
        match self.kernel {
            Kernel::Poly => (self.gamma * dot + self.coef0).powf(self.degree),
            Kernel::Sigmoid => (self.gamma * dot + self.coef0).tanh(),
            Kernel::Linear | Kernel::Rbf => dot,
        }
    }
}

impl Rows for Regressor {
    fn name(&self) -> &'static str {
        "SVMRegressor"
    }

    fn shape(&self, width: usize) -> TractResult<Vec<usize>> {
        let columns = self.vectors.len() / self.coefficients.len();
        ensure!(
            width == columns,
            "there are vectors of {columns} columns, not of {width}"
        );
        Ok(vec![1])
    }

    fn run(
        &self,
        rows: Numbers<'_>,
        width: usize,
        output: &mut [f32],
        _: &mut [i64],
    ) -> TractResult<()> {
        single(rows, |rows| {
            for (out, row) in output.iter_mut().zip(rows.chunks_exact(width)) {
                let vectors = self.vectors.chunks_exact(width);
                let terms = vectors.zip(&self.coefficients);
                let terms = terms.map(|(vector, c)| c * self.likeness(row, vector));
                let sum = self.rho + terms.sum::<f32>();
                *out = match self.one_class {
                    true if sum > 0.0 => 1.0,
                    true => -1.0,
                    false => sum,
                };
            }
        });
        Ok(())
    }
}
