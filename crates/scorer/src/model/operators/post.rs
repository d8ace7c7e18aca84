//! The last step of a classifier, from its raw scores.

use std::str::FromStr;

/// ONNX's post-transforms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PostTransform {
    /// Nothing.
    None,
    /// `1 / (1 + exp(-x))`, each by itself.
    Logistic,
    /// `exp(x)` over the sum of them.
    Softmax,
    /// The same, but what is 0 stays 0.
    SoftmaxZero,
    /// The inverse of the normal distribution, each by itself.
    Probit,
}

impl FromStr for PostTransform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "NONE" | "" => Self::None,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX" => Self::Softmax,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            _ => return Err(format!("post_transform {text:?} is not known here")),
        })
    }
}

impl PostTransform {
    /// Transforms one row.
    pub(super) fn apply(self, row: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Logistic => row.iter_mut().for_each(|x| *x = logistic(*x)),
            Self::Probit => row.iter_mut().for_each(|x| *x = probit(*x)),
            Self::Softmax => {
                let largest = row.iter().copied().fold(f32::MIN, f32::max);
                row.iter_mut().for_each(|x| *x = (*x - largest).exp());
                let sum: f32 = row.iter().sum();
                row.iter_mut().for_each(|x| *x /= sum);
            }
            Self::SoftmaxZero => {
                let largest = row.iter().copied().fold(f32::MIN, f32::max);
                // As onnxruntime, which takes what is within 1e-7 of 0 for 0.
                let nought = |x: f32| x.abs() <= 1e-7;
                let mut sum = 0.0;
                for x in row.iter_mut().filter(|x| !nought(**x)) {
                    *x = (*x - largest).exp();
                    sum += *x;
                }
                row.iter_mut().for_each(|x| *x /= sum);
            }
        }
    }
}

impl PostTransform {
    /// Transforms a regression's row. As in onnxruntime, most transforms pass over a single target.
    pub(super) fn apply_to_targets(self, row: &mut [f32]) {
        if row.len() > 1 || self == Self::Probit {
            self.apply(row);
        }
    }
}

/// The first of the largest numbers.
pub(super) fn largest(scores: &[f32]) -> usize {
    let mut best = 0;
    for (index, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = index;
        }
    }
    best
}

/// `1 / (1 + exp(-x))`, by way of the smaller exponential as onnxruntime has it.
pub(super) fn logistic(x: f32) -> f32 {
    // Beyond 30 the exponential adds nothing to 1, and where it underflows it takes a hundred times as long.
    let power = if x.abs() > 30.0 {
        0.0
    } else {
        (-x.abs()).exp()
    };
    let v = 1.0 / (1.0 + power);
    if x < 0.0 { 1.0 - v } else { v }
}

/// The inverse of the standard normal distribution, by Winitzki's approximation of the inverse error
/// function, as onnxruntime has it.
fn probit(x: f32) -> f32 {
    let y = 2.0 * x - 1.0;
    let sign = if y < 0.0 { -1.0 } else { 1.0 };
    let log = ((1.0 - y) * (1.0 + y)).ln();
    let v = 2.0 / (std::f32::consts::PI * 0.147) + 0.5 * log;
    let inner = v * v - log / 0.147;
    std::f32::consts::SQRT_2 * sign * (inner.sqrt() - v).sqrt()
}
