//! Operators that change the numbers of a row: `Scaler`, `Normalizer`.

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

    fn run(
        &self,
        rows: Numbers<'_>,
        width: usize,
        output: &mut [f32],
        _: &mut [i64],
    ) -> TractResult<()> {
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
            Numbers::Whole(rows) => {
                for ((out, x), column) in output.iter_mut().zip(rows).zip(columns) {
                    *out = scaled(column, *x as f64);
                }
            }
        }
        Ok(())
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

    fn run(
        &self,
        rows: Numbers<'_>,
        width: usize,
        output: &mut [f32],
        _: &mut [i64],
    ) -> TractResult<()> {
        single(rows, |rows| {
            for (out, row) in output.chunks_exact_mut(width).zip(rows.chunks_exact(width)) {
                match self {
                    // The largest number, not the largest magnitude, as onnxruntime has it.
                    Normalizer::Max => {
                        let norm = row.iter().copied().fold(f32::MIN, f32::max);
                        divide(row, if norm == 0.0 { 1.0 } else { norm }, out);
                    }
                    Normalizer::L1 => {
                        let norm: f32 = row.iter().map(|x| x.abs()).sum();
                        divide(row, if norm == 0.0 { 1.0 } else { norm }, out);
                    }
                    // As in onnxruntime the root comes last, which tells where squares are infinite.
                    Normalizer::L2 => {
                        let sum: f32 = row.iter().map(|x| x * x).sum();
                        for (out, x) in out.iter_mut().zip(row) {
                            *out = if sum == 0.0 {
                                *x
                            } else {
                                (x * x / sum).sqrt().copysign(*x)
                            };
                        }
                    }
                }
            }
        });
        Ok(())
    }
}

fn divide(row: &[f32], norm: f32, out: &mut [f32]) {
    for (out, x) in out.iter_mut().zip(row) {
        *out = x / norm;
    }
}
