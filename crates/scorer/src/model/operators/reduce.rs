//! Reductions in which what is not a number passes through: `ReduceMax`, `ReduceMin`, `ArgMax`, `ArgMin`; and
//! `ReduceLogSumExp`, which does not overflow.

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::{Attributes, Built};
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

/// A reduction as the file has it.
#[derive(Clone, Debug)]
struct Reduction {
    reducer: Reducer,
    /// As attributes; none: all, or those that an input says.
    axes: Option<Vec<i64>>,
    keep: bool,
    /// True if no axes mean none rather than all.
    none_is_none: bool,
}

pub(super) fn register(register: &mut OnnxOpRegister) {
    register.insert("ArgMax", |context, node| {
        argument(context, node, Reducer::ArgMax)
    });
    register.insert("ArgMin", |context, node| {
        argument(context, node, Reducer::ArgMin)
    });
    register.insert("ReduceLogSumExp", |_, node| {
        reduce(node, Reducer::LogSumExp)
    });
    register.insert("ReduceMax", |_, node| reduce(node, Reducer::Max));
    register.insert("ReduceMin", |_, node| reduce(node, Reducer::Min));
}

fn argument(_: &ParsingContext, node: &NodeProto, reducer: fn(bool) -> Reducer) -> Built {
    let found = Attributes(node);
    Ok((
        expand(Reduction {
            reducer: reducer(found.whole("select_last_index").unwrap_or(0) != 0),
            axes: Some(vec![found.whole("axis").unwrap_or(0)]),
            keep: found.whole("keepdims").unwrap_or(1) != 0,
            none_is_none: false,
        }),
        Vec::new(),
    ))
}

fn reduce(node: &NodeProto, reducer: Reducer) -> Built {
    let found = Attributes(node);
    let axes = found.wholes("axes");
    Ok((
        expand(Reduction {
            reducer,
            axes: (!axes.is_empty()).then(|| axes.to_vec()),
            keep: found.whole("keepdims").unwrap_or(1) != 0,
            none_is_none: found.whole("noop_with_empty_axes").unwrap_or(0) != 0,
        }),
        Vec::new(),
    ))
}

impl Reduction {
    /// The axes, ascending, of a tensor of `rank`, where an input says `given`.
    fn axes(&self, rank: usize, given: Option<&Tensor>) -> TractResult<Vec<usize>> {
        let given = given.map(|tensor| tensor.cast_to::<i64>()).transpose()?;
        let given = match &given {
            Some(tensor) => Some(tensor.try_as_plain_ram()?.as_slice::<i64>()?.to_vec()),
            None => self.axes.clone(),
        };
        let given = given.unwrap_or_default();
        if given.is_empty() {
            return Ok(if self.none_is_none {
                vec![]
            } else {
                (0..rank).collect()
            });
        }
        let mut axes = Vec::new();
        for axis in given {
            let at = if axis < 0 { axis + rank as i64 } else { axis };
            let at = usize::try_from(at).ok().filter(|at| *at < rank);
            axes.push(at.with_context(|| format!("there is no axis {axis} of {rank}"))?);
        }
        axes.sort_unstable();
        axes.dedup();
        Ok(axes)
    }
}

impl Expansion for Reduction {
    fn name(&self) -> StaticName {
        format!("{:?}", self.reducer).into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_output_arity(outputs, 1)?;
        match self.reducer {
            Reducer::ArgMax(_) | Reducer::ArgMin(_) => {
                solver.equals(&outputs[0].datum_type, i64::datum_type())?;
            }
            _ => solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?,
        }
        let shape = move |solver: &mut Solver<'r>, shape: TVec<TDim>, given: Option<&Tensor>| {
            let axes = self.axes(shape.len(), given)?;
            let kept = shape.into_iter().enumerate();
            let kept = kept.filter_map(|(axis, size)| match axes.contains(&axis) {
                true => self.keep.then(|| 1.to_dim()),
                false => Some(size),
            });
            solver.equals(&outputs[0].shape, kept.collect::<TVec<TDim>>())
        };
        match inputs.get(1) {
            Some(axes) => {
                solver.given_2(&inputs[0].shape, &axes.value, move |solver, found, axes| {
                    shape(solver, found, Some(&axes))
                })
            }
            None => solver.given(&inputs[0].shape, move |solver, found| {
                shape(solver, found, None)
            }),
        }
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let given = match inputs.get(1) {
            Some(axes) => Some(
                model
                    .outlet_fact(*axes)?
                    .konst
                    .clone()
                    .context("the axes are computed")?,
            ),
            None => None,
        };
        let axes = self.axes(model.outlet_fact(inputs[0])?.rank(), given.as_deref())?;
        if axes.is_empty() {
            return Ok(tvec!(inputs[0]));
        }
        let over = Over {
            reducer: self.reducer,
            axes: axes.clone(),
        };
        let name = if self.keep {
            prefix.to_owned()
        } else {
            format!("{prefix}.kept")
        };
        let mut found = model.wire_node(name, over, &inputs[..1])?;
        for (count, axis) in axes.iter().enumerate().rev().filter(|_| !self.keep) {
            let name = if count == 0 {
                prefix.to_owned()
            } else {
                format!("{prefix}.{count}")
            };
            found = model.wire_node(name, AxisOp::Rm(*axis), &found)?;
        }
        Ok(found)
    }
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
