//! Operators that change each number of a row by itself, or by its row: `Scaler`, `Imputer`,
//! `Binarizer`, `Normalizer`.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::{Attributes, Built};
use super::rowwise::{Numbers, Rows, rowwise, single};

/// A number for each column, or one for all.
fn of_column(numbers: &[f32], column: usize) -> f32 {
    if numbers.len() == 1 {
        numbers[0]
    } else {
        numbers[column]
    }
}

fn check(name: &str, numbers: &[f32], width: usize) -> TractResult<()> {
    let count = numbers.len();
    ensure!(
        count == 1 || count == width,
        "{name}: {count} numbers for {width} columns"
    );
    Ok(())
}

/// `(x - offset) * scale`
#[derive(Debug)]
struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

pub(super) fn scaler(_: &ParsingContext, node: &NodeProto) -> Built {
    let found = Attributes(node);
    rowwise(Scaler {
        offset: found.numbers("offset").to_vec(),
        scale: found.numbers("scale").to_vec(),
    })
}

impl Rows for Scaler {
    fn name(&self) -> &'static str {
        "Scaler"
    }

    fn shape(&self, width: usize) -> TractResult<Vec<usize>> {
        check("offset", &self.offset, width)?;
        check("scale", &self.scale, width)?;
        Ok(vec![width])
    }

    fn run(&self, rows: Numbers<'_>, width: usize, output: &mut [f32], _: &mut [i64]) {
        // Doubles are scaled as such, and rounded in the end only.
        let scaled = |column: usize, x: f64| {
            let offset = f64::from(of_column(&self.offset, column));
            ((x - offset) * f64::from(of_column(&self.scale, column))) as f32
        };
        let columns = (0..width).cycle();
        match rows {
            Numbers::Single(rows) => {
                for ((out, x), column) in output.iter_mut().zip(rows).zip(columns) {
                    *out = (x - of_column(&self.offset, column)) * of_column(&self.scale, column);
                }
            }
            Numbers::Double(rows) => {
                for ((out, x), column) in output.iter_mut().zip(rows).zip(columns) {
                    *out = scaled(column, *x);
                }
            }
        }
    }
}

/// Puts a number in the place of those that stand for a missing one.
#[derive(Debug)]
struct Imputer {
    values: Vec<f32>,
    missing: f32,
}

pub(super) fn imputer(_: &ParsingContext, node: &NodeProto) -> Built {
    let found = Attributes(node);
    let floats = found.numbers("imputed_value_floats");
    let wholes = found.wholes("imputed_value_int64s");
    let (values, missing) = match (floats, wholes) {
        ([], []) => bail!("the imputer has no values"),
        ([], wholes) => {
            let missing = found.whole("replaced_value_int64").unwrap_or(0);
            (wholes.iter().map(|x| *x as f32).collect(), missing as f32)
        }
        (floats, _) => {
            let missing = found.number("replaced_value_float").unwrap_or(0.0);
            (floats.to_vec(), missing)
        }
    };
    rowwise(Imputer { values, missing })
}

impl Rows for Imputer {
    fn name(&self) -> &'static str {
        "Imputer"
    }

    fn shape(&self, width: usize) -> TractResult<Vec<usize>> {
        check("imputed_value", &self.values, width)?;
        Ok(vec![width])
    }

    fn run(&self, rows: Numbers<'_>, width: usize, output: &mut [f32], _: &mut [i64]) {
        single(rows, |rows| {
            for ((out, x), column) in output.iter_mut().zip(rows).zip((0..width).cycle()) {
                let missing = *x == self.missing || (x.is_nan() && self.missing.is_nan());
                *out = if missing {
                    of_column(&self.values, column)
                } else {
                    *x
                };
            }
        });
    }
}

/// 1 above the threshold, else 0.
#[derive(Debug)]
struct Binarizer(f32);

pub(super) fn binarizer(_: &ParsingContext, node: &NodeProto) -> Built {
    let threshold = Attributes(node).number("threshold").unwrap_or(0.0);
    rowwise(Binarizer(threshold))
}

impl Rows for Binarizer {
    fn name(&self) -> &'static str {
        "Binarizer"
    }

    fn shape(&self, width: usize) -> TractResult<Vec<usize>> {
        Ok(vec![width])
    }

    fn run(&self, rows: Numbers<'_>, _: usize, output: &mut [f32], _: &mut [i64]) {
        single(rows, |rows| {
            for (out, x) in output.iter_mut().zip(rows) {
                *out = f32::from(u8::from(*x > self.0));
            }
        });
    }
}

/// Divides each row by its norm.
#[derive(Clone, Copy, Debug)]
enum Normalizer {
    Max,
    L1,
    L2,
}

pub(super) fn normalizer(_: &ParsingContext, node: &NodeProto) -> Built {
    rowwise(match Attributes(node).text("norm").unwrap_or("MAX") {
        "MAX" => Normalizer::Max,
        "L1" => Normalizer::L1,
        "L2" => Normalizer::L2,
        other => bail!("norm {other:?} is not known here"),
    })
}

impl Rows for Normalizer {
    fn name(&self) -> &'static str {
        "Normalizer"
    }

    fn shape(&self, width: usize) -> TractResult<Vec<usize>> {
        Ok(vec![width])
    }

    fn run(&self, rows: Numbers<'_>, width: usize, output: &mut [f32], _: &mut [i64]) {
        single(rows, |rows| {
            for (out, row) in output.chunks_exact_mut(width).zip(rows.chunks_exact(width)) {
                let norm = match self {
                    // The largest number, not the largest magnitude, as onnxruntime has it.
                    Normalizer::Max => row.iter().copied().fold(f32::MIN, f32::max),
                    Normalizer::L1 => row.iter().map(|x| x.abs()).sum(),
                    Normalizer::L2 => row.iter().map(|x| x * x).sum::<f32>().sqrt(),
                };
                let norm = if norm == 0.0 { 1.0 } else { norm };
                for (out, x) in out.iter_mut().zip(row) {
                    *out = x / norm;
                }
            }
        });
    }
}
