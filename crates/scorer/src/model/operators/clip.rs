//! `Clip`: its constants make a function of one number of it.

use tract_onnx::model::{ParsingContext, optional_inputs};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::{Attributes, Built};
use super::function::{Function, function};
use super::functions::within;
use super::keeps_type_and_shape;

/// The source of a bound: an attribute in old operator sets, an input later.
#[derive(Clone, Debug)]
enum Bound {
    Number(f64),
    Input(usize),
}

/// `Clip`, between constants.
#[derive(Clone, Debug)]
struct Clip {
    low: Option<Bound>,
    high: Option<Bound>,
    inputs: usize,
}

pub(super) fn clip(context: &ParsingContext, node: &NodeProto) -> Built {
    let attribute = |name| {
        let number = Attributes(node).number(name)?;
        Some(Bound::Number(f64::from(number)))
    };
    let mut inputs = optional_inputs(node).skip(1);
    let mut input = || inputs.next().flatten().map(Bound::Input);
    let (low, high) = match context.onnx_operator_set_version {
        ..11 => (attribute("min"), attribute("max")),
        _ => (input(), input()),
    };
    let inputs = node.input.iter().filter(|name| !name.is_empty()).count();
    Ok((expand(Clip { low, high, inputs }), Vec::new()))
}

impl Clip {
    fn function(&self, model: &TypedModel, inputs: &[OutletId]) -> TractResult<Function> {
        let kind = model.outlet_fact(inputs[0])?.datum_type;
        let tensor = |bound: &Option<Bound>| -> TractResult<Option<Arc<Tensor>>> {
            match bound {
                None => Ok(None),
                Some(Bound::Number(number)) => Ok(Some(rctensor0(*number))),
                Some(Bound::Input(at)) => {
                    let fact = model.outlet_fact(inputs[*at])?;
                    let found = fact.konst.clone().context("a bound is computed")?;
                    Ok(Some(found))
                }
            }
        };
        let (low, high) = (tensor(&self.low)?, tensor(&self.high)?);
        if kind.is_float() {
            // As in onnxruntime, an infinity is clipped even where no bound is given.
            let most = if kind == f32::datum_type() {
                f64::from(f32::MAX)
            } else {
                f64::MAX
            };
            let number = |bound: Option<Arc<Tensor>>, default| match bound {
                Some(tensor) => tensor.cast_to_scalar::<f64>(),
                None => Ok(default),
            };
            let (low, high) = (number(low, -most)?, number(high, most)?);
            return Ok(function!("Clip", |x, low, high| within(x, low, high)));
        }
        let number = |bound: Option<Arc<Tensor>>, default| match bound {
            Some(tensor) => tensor.cast_to_scalar::<i64>(),
            None => Ok(default),
        };
        let (low, high) = (number(low, i64::MIN)?, number(high, i64::MAX)?);
        Ok(Function::of_whole("Clip", move |x| within(x, low, high)))
    }
}

impl Expansion for Clip {
    fn name(&self) -> StaticName {
        "Clip".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        keeps_type_and_shape(solver, inputs, outputs, self.inputs)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let function = self.function(model, inputs)?;
        model.wire_node(prefix, function.typed(), &inputs[..1])
    }
}
