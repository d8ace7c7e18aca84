//! ONNX's plain `OneHot`: negative indices count from the end, and others beyond the depth are all off.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::array::{OneHot, Slice};

use super::attributes::{Attributes, Built};
use super::cast::wire_cast;
use super::function::Function;

/// Indices, the depth and the values for off and on.
#[derive(Clone, Debug)]
struct Lenient {
    axis: i64,
}

pub(super) fn one_hot(_: &ParsingContext, node: &NodeProto) -> Built {
    let axis = Attributes(node).whole("axis").unwrap_or(-1);
    Ok((expand(Lenient { axis }), Vec::new()))
}

impl Lenient {
    fn axis(&self, rank: usize) -> TractResult<usize> {
        let axis = if self.axis < 0 {
            self.axis + rank as i64 + 1
        } else {
            self.axis
        };
        let axis = usize::try_from(axis).ok().filter(|axis| *axis <= rank);
        axis.with_context(|| format!("there is no axis {} of {}", self.axis, rank + 1))
    }
}

fn depth(tensor: &Tensor) -> TractResult<usize> {
    let depth = tensor.cast_to::<i64>()?;
    let depth = depth
        .try_as_plain_ram()?
        .as_slice::<i64>()?
        .first()
        .copied();
    Ok(usize::try_from(depth.context("the depth is empty")?)?)
}

impl Expansion for Lenient {
    fn name(&self) -> StaticName {
        "OneHot".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 3)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[2].datum_type, &outputs[0].datum_type)?;
        solver.given_2(
            &inputs[0].shape,
            &inputs[1].value,
            move |solver, mut shape, size| {
                shape.insert(self.axis(shape.len())?, depth(&size)?.to_dim());
                solver.equals(&outputs[0].shape, shape)
            },
        )
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let constant = |at: usize| -> TractResult<Arc<Tensor>> {
            let fact = model.outlet_fact(inputs[at])?;
            fact.konst.clone().context("depth and values are computed")
        };
        let (dim, values) = (depth(&*constant(1)?)?, constant(2)?);
        let axis = self.axis(model.outlet_fact(inputs[0])?.rank())?;
        let end = dim as i64;
        // A category out of range gets a place of its own, which is cut off.
        let place = Function::of_whole("OneHot", move |x| match x {
            x if x < -end || x >= end => end,
            x => x.rem_euclid(end),
        });
        let op = OneHot {
            axis,
            dim: dim + 1,
            off: values.nth(0)?.into_arc_tensor(),
            on: values.nth(1)?.into_arc_tensor(),
        };
        let whole = format!("{prefix}.whole");
        let found = wire_cast(&whole, model, inputs[0], i64::datum_type())?;
        let found = model.wire_node(format!("{prefix}.place"), place.typed(), &found)?;
        let found = model.wire_node(format!("{prefix}.hot"), op, &found)?;
        model.wire_node(prefix, Slice::new(axis, 0, dim), &found)
    }
}
