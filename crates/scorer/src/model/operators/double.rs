//! Functions that tract has in single precision only, made to take doubles, which models exported with
//! double inputs compute with: `Sigmoid`, `Erf`.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cast::cast;
use tract_onnx::tract_hir::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_hir::tract_core::ops::{math, nn};

use super::attributes::Built;

/// A function of each number by itself. Doubles are rounded for it.
#[derive(Clone, Debug)]
struct Rounding(ElementWiseOp);

pub(super) fn sigmoid(_: &ParsingContext, _: &NodeProto) -> Built {
    Ok((expand(Rounding(nn::sigmoid())), Vec::new()))
}

pub(super) fn erf(_: &ParsingContext, _: &NodeProto) -> Built {
    Ok((expand(Rounding(math::erf())), Vec::new()))
}

impl Expansion for Rounding {
    fn name(&self) -> StaticName {
        Op::name(&self.0)
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        solver.equals(&inputs[0].shape, &outputs[0].shape)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let kind = model.outlet_fact(inputs[0])?.datum_type;
        if kind != f64::datum_type() {
            return model.wire_node(prefix, self.0.clone(), inputs);
        }
        let single = cast(f32::datum_type());
        let single = model.wire_node(format!("{prefix}.single"), single, inputs)?;
        let found = model.wire_node(format!("{prefix}.found"), self.0.clone(), &single)?;
        model.wire_node(prefix, cast(kind), &found)
    }
}
