//! `Pow`, with onnxruntime's root of minus infinity.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::binary::{wire_cast as wire_casts, wire_rank_broadcast};
use tract_onnx::tract_hir::tract_core::broadcast::multi_broadcast;
use tract_onnx::tract_hir::tract_core::ops::math;

use super::attributes::Built;
use super::cast::wire_cast;
use super::function::{Function, function};

/// The result has the base's type.
#[derive(Clone, Debug)]
struct Power;

pub(super) fn pow(_: &ParsingContext, _: &NodeProto) -> Built {
    Ok((expand(Power), Vec::new()))
}

impl Expansion for Power {
    fn name(&self) -> StaticName {
        "Pow".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 2)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        solver.given_2(&inputs[0].shape, &inputs[1].shape, |solver, a, b| {
            solver.equals(&outputs[0].shape, multi_broadcast(&[a, b])?)
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let kind = model.outlet_fact(inputs[0])?.datum_type;
        let exponent = model.outlet_fact(inputs[1])?;
        let exponent = exponent.konst.as_ref().filter(|tensor| tensor.len() == 1);
        let exponent = exponent.and_then(|tensor| tensor.cast_to_scalar::<f64>().ok());
        if kind.is_float() && exponent == Some(0.5) {
            let inputs = wire_rank_broadcast(prefix, model, inputs)?;
            return model.wire_node(prefix, root().typed(), &inputs[..1]);
        }
        // Whole numbers are computed with in double precision where the exponent is none.
        let other = model.outlet_fact(inputs[1])?.datum_type;
        let common = match kind.is_integer() != other.is_integer() {
            true if kind.is_integer() => f64::datum_type(),
            true => kind,
            false => kind
                .common_super_type(other)
                .context("the inputs' types do not mix")?,
        };
        let found = wire_rank_broadcast(prefix, model, inputs)?;
        let found = wire_casts(prefix, model, &found, common)?;
        if common == kind {
            return model.wire_node(prefix, math::pow(), &found);
        }
        let found = model.wire_node(format!("{prefix}.pow"), math::pow(), &found)?;
        wire_cast(prefix, model, found[0], kind)
    }
}

/// The power of a half, which is infinite for both infinities.
fn root() -> Function {
    function!("Sqrt", |x| if x.is_infinite() { x.abs() } else { x.sqrt() })
}
