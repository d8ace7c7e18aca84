//! Reductions in which what is not a number passes through: `ReduceMax`, `ReduceMin`, `ArgMax`, `ArgMin`; and
//! `ReduceLogSumExp`, which does not overflow.

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::{Attributes, Built};
use super::over::{Over, Reducer};

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
