//! `QuantizeLinear` to 8 bits as onnxruntime has it: numbers beyond the range become its ends, however far they are, and
//! NaN its lower end.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::{Attributes, Built};

/// `QuantizeLinear` as the file has it.
#[derive(Clone, Debug)]
struct QuantizeLinear {
    axis: i64,
}

/// Steps of 8 bits for numbers of single precision.
#[derive(Clone, Debug, PartialEq)]
struct Steps {
    /// The axis that has a scale for each of its places, where there are several.
    axis: usize,
    scales: Vec<f32>,
    /// The step of zero for each scale.
    zeros: Vec<f32>,
    kind: DatumType,
}

impl Eq for Steps {}

pub(super) fn quantize_linear(_: &ParsingContext, node: &NodeProto) -> Built {
    let found = Attributes(node);
    ensure!(
        found.whole("block_size").unwrap_or(0) == 0,
        "it quantizes in blocks; quantize with one scale, or one for each column"
    );
    let axis = found.whole("axis").unwrap_or(1);
    Ok((expand(QuantizeLinear { axis }), Vec::new()))
}

impl Expansion for QuantizeLinear {
    fn name(&self) -> StaticName {
        "QuantizeLinear".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].shape, &outputs[0].shape)?;
        match inputs.get(2) {
            Some(zero) => solver.equals(&outputs[0].datum_type, &zero.datum_type),
            None => solver.equals(&outputs[0].datum_type, u8::datum_type()),
        }
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let constant = |input: &OutletId| {
            let found = model.outlet_fact(*input)?.konst.clone();
            found.context("its scale is computed; export it with constant scales")
        };
        let floats = |tensor: &Tensor| -> TractResult<Vec<f32>> {
            let cast = tensor.cast_to::<f32>()?;
            Ok(cast.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
        };
        let scales = floats(&*constant(&inputs[1])?)?;
        let (zeros, kind) = match inputs.get(2) {
            Some(input) => {
                let zeros = constant(input)?;
                (floats(&zeros)?, zeros.datum_type())
            }
            None => (vec![0.0; scales.len()], u8::datum_type()),
        };
        ensure!(
            [u8::datum_type(), i8::datum_type()].contains(&kind),
            "it quantizes to {kind:?}; quantize to uint8 or int8, or not at all"
        );
        let shape = &model.outlet_fact(inputs[0])?.shape;
        let axis = match self.axis {
            axis if axis < 0 => axis + shape.rank() as i64,
            axis => axis,
        };
        let each = || Some(shape.get(usize::try_from(axis).ok()?)?.to_usize().ok());
        ensure!(
            scales.len() == zeros.len()
                && (scales.len() == 1 || each().flatten() == Some(scales.len())),
            "its scales do not fit its input; export it with one scale, or one for each column"
        );
        let steps = Steps {
            axis: axis as usize,
            scales,
            zeros,
            kind,
        };
        model.wire_node(prefix, steps, &inputs[..1])
    }
}

impl Steps {
    fn run<T: Datum + Copy>(
        &self,
        input: &Tensor,
        (least, most): (f32, f32),
        step: impl Fn(f32) -> T,
    ) -> TractResult<Tensor> {
        let cast = input.cast_to::<f32>()?;
        let numbers = cast.try_as_plain_ram()?;
        // A scale lasts for all places of the axes behind its own.
        let lasts: usize = match self.scales.len() {
            1 => 1,
            _ => input.shape()[self.axis + 1..].iter().product(),
        };
        let found = numbers.as_slice::<f32>()?.iter().enumerate();
        let found = found.map(|(at, x)| {
            let place = at / lasts.max(1) % self.scales.len();
            let (scale, zero) = (self.scales[place], self.zeros[place]);
            let x = x / scale;
            // The bounds are taken before rounding. What is no number is not above the lower one.
            let x = if x > least - zero { x } else { least - zero };
            let x = if x < most - zero { x } else { most - zero };
            step(x.round_ties_even() + zero)
        });
        Tensor::from_shape(input.shape(), &found.collect::<Vec<T>>())
    }
}

impl Op for Steps {
    fn name(&self) -> StaticName {
        "QuantizeLinear".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Steps {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let found = match self.kind == u8::datum_type() {
            true => self.run(&input, (0.0, 255.0), |x| x as u8)?,
            false => self.run(&input, (-128.0, 127.0), |x| x as i8)?,
        };
        Ok(tvec!(found.into_tvalue()))
    }
}

impl TypedOp for Steps {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(self.kind.fact(inputs[0].shape.clone())))
    }

    as_op!();
}
