//! A reduction over axes of a tensor, as a tract operator.

use tract_onnx::tract_hir::internal::*;

use super::pair::{larger, smaller};

/// The operations on a row of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reducer {
    Max,
    Min,
    /// The place of the largest number; the last of several if so.
    ArgMax(bool),
    ArgMin(bool),
    /// The logarithm of the sum of exponentials.
    LogSumExp,
}

/// A reduction over axes, which are kept with a size of 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Over {
    pub(super) reducer: Reducer,
    pub(super) axes: Vec<usize>,
}

impl Op for Over {
    fn name(&self) -> StaticName {
        format!("{:?}", self.reducer).into()
    }

    op_as_typed_op!();
}

impl EvalOp for Over {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let found = match input.datum_type() {
            DatumType::F32 => self.floats::<f32>(&input)?,
            DatumType::F64 => self.floats::<f64>(&input)?,
            DatumType::I64 => self.others(&input, i64::MIN, i64::MAX)?,
            DatumType::I32 => self.others(&input, i32::MIN, i32::MAX)?,
            DatumType::Bool => self.others(&input, false, true)?,
            other => bail!("{:?} of {other:?} is not known here", self.reducer),
        };
        Ok(tvec!(found.into_tvalue()))
    }
}

impl Over {
    fn floats<T>(&self, input: &Tensor) -> TractResult<Tensor>
    where
        T: Datum + Copy + tract_num_traits::Float + std::iter::Sum,
    {
        if self.reducer == Reducer::LogSumExp {
            return self.lanes(input, log_sum_exp::<T>);
        }
        self.others(input, T::neg_infinity(), T::infinity())
    }

    /// The extremes; of no numbers they are `least` and `most`.
    fn others<T: Datum + Copy + PartialOrd>(
        &self,
        input: &Tensor,
        least: T,
        most: T,
    ) -> TractResult<Tensor> {
        match self.reducer {
            Reducer::Max => {
                self.lanes(input, |lane: &[T]| lane.iter().copied().fold(least, larger))
            }
            Reducer::Min => {
                self.lanes(input, |lane: &[T]| lane.iter().copied().fold(most, smaller))
            }
            Reducer::ArgMax(last) => {
                self.lanes(input, |lane: &[T]| first(lane, last, |a, b| a > b))
            }
            Reducer::ArgMin(last) => {
                self.lanes(input, |lane: &[T]| first(lane, last, |a, b| a < b))
            }
            Reducer::LogSumExp => bail!("ReduceLogSumExp takes floating point numbers"),
        }
    }

    /// Applies `reduce` to the numbers along the axes.
    fn lanes<T: Datum + Copy, R: Datum + Copy>(
        &self,
        input: &Tensor,
        reduce: impl Fn(&[T]) -> R,
    ) -> TractResult<Tensor> {
        let kept = (0..input.rank()).filter(|axis| !self.axes.contains(axis));
        let order: Vec<usize> = kept.chain(self.axes.iter().copied()).collect();
        let moved = input.clone().permute_axes(&order)?;
        let size: usize = self.axes.iter().map(|axis| input.shape()[*axis]).product();
        let mut shape = input.shape().to_vec();
        self.axes.iter().for_each(|axis| shape[*axis] = 1);
        let numbers = moved.try_as_plain_ram()?;
        let numbers = numbers.as_slice::<T>()?;
        let count = shape.iter().product();
        let found: Vec<R> = (0..count)
            .map(|lane| reduce(&numbers[lane * size..][..size]))
            .collect();
        Tensor::from_shape(&shape, &found)
    }
}

/// The place of the first (or last) of the numbers that no other is before.
fn first<T: PartialOrd + Copy>(lane: &[T], last: bool, before: fn(&T, &T) -> bool) -> i64 {
    let mut best = 0;
    for (at, number) in lane.iter().enumerate().skip(1) {
        if before(number, &lane[best]) || (last && *number == lane[best]) {
            best = at;
        }
    }
    best as i64
}

fn log_sum_exp<T: tract_num_traits::Float + std::iter::Sum>(lane: &[T]) -> T {
    let largest = lane.iter().copied().fold(T::neg_infinity(), larger);
    // Nothing can be taken from an infinity.
    let less = if largest.is_infinite() {
        T::zero()
    } else {
        largest
    };
    lane.iter().map(|x| (*x - less).exp()).sum::<T>().ln() + less
}

impl TypedOp for Over {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut shape = inputs[0].shape.to_tvec();
        self.axes.iter().for_each(|axis| shape[*axis] = 1.to_dim());
        let kind = match self.reducer {
            Reducer::ArgMax(_) | Reducer::ArgMin(_) => i64::datum_type(),
            _ => inputs[0].datum_type,
        };
        Ok(tvec!(kind.fact(shape)))
    }

    as_op!();
}
