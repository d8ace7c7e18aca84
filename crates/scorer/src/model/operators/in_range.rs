//! Indices of a look-up, each within the axis that it counts along; others are an error that names them.

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cast::cast;

/// The axes of the data that indices count along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axes {
    /// All along this one; negative ones count from its end.
    One(usize),
    /// All along this one, from its start.
    FromStart(usize),
    /// Each row of indices along one axis after the other, from this one on; negative ones count from its end.
    Several(usize),
}

/// Indices within the data's axes, counted from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
struct InRange {
    /// The name of the node that looks up.
    node: String,
    axes: Axes,
}

/// Wires the check of a look-up's `indices`. Constant ones are checked at once.
pub(super) fn wire_in_range(
    node: &str,
    model: &mut TypedModel,
    data: OutletId,
    indices: OutletId,
    axes: Axes,
) -> TractResult<OutletId> {
    let name = format!("{node}.index");
    let whole = cast(i64::datum_type());
    let indices = model.wire_node(&name, whole, &[indices])?[0];
    let check = InRange {
        node: node.to_owned(),
        axes,
    };
    let shape = model.outlet_fact(data)?.shape.as_concrete().map(TVec::from);
    if let (Some(shape), Some(known)) = (shape, model.outlet_fact(indices)?.konst.clone()) {
        let checked = check.indices(&known, &shape)?;
        return model.add_const(format!("{name}.known"), checked);
    }
    Ok(model.wire_node(format!("{name}.checked"), check, &[indices, data])?[0])
}

impl InRange {
    fn indices(&self, indices: &Tensor, shape: &[usize]) -> TractResult<Tensor> {
        let mut checked = indices.clone();
        let places = indices.shape().last().copied().unwrap_or(1);
        let mut numbers = checked.try_as_plain_ram_mut()?;
        for (at, index) in numbers.as_slice_mut::<i64>()?.iter_mut().enumerate() {
            let size = match self.axes {
                Axes::One(axis) | Axes::FromStart(axis) => shape[axis],
                Axes::Several(first) => shape[first + at % places],
            };
            let size = size as i64;
            let least = match self.axes {
                Axes::FromStart(_) => 0,
                _ => -size,
            };
            ensure!(
                (least..size).contains(index),
                "index {index} is out of range in the look-up {:?}, which has {size} entries",
                self.node
            );
            if *index < 0 {
                *index += size;
            }
        }
        Ok(checked)
    }
}

impl Op for InRange {
    fn name(&self) -> StaticName {
        "InRange".into()
    }

    op_as_typed_op!();
}

impl EvalOp for InRange {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (indices, data) = args_2!(inputs);
        let checked = self.indices(&indices, data.shape())?;
        Ok(tvec!(checked.into_tvalue()))
    }
}

impl TypedOp for InRange {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].datum_type.fact(inputs[0].shape.clone())))
    }

    as_op!();
}
