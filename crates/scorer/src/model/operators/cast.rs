//! `Cast` and `CastLike`, with onnxruntime's whole numbers: of 64 bits where tract's have 32, and of NaN and numbers
//! that are too large what the processor makes of them there.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cast::cast as tracts;
use tract_onnx::tract_hir::tract_core::ops::element_wise::ElementWiseOp;

use super::attributes::{Attributes, Built};

/// The smallest number of 64 bits and the first one beyond the largest, as floating point numbers.
const RANGE: std::ops::Range<f64> = -9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0;

/// A cast to a given type, or to that of a second input.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cast {
    To(DatumType),
    Like,
}

pub(super) fn cast(_: &ParsingContext, node: &NodeProto) -> Built {
    let to = Attributes(node).whole("to").unwrap_or_default() as i32;
    let to = match DataType::try_from(to) {
        Ok(DataType::Float) => DatumType::F32,
        Ok(DataType::Double) => DatumType::F64,
        Ok(DataType::Int8) => DatumType::I8,
        Ok(DataType::Int16) => DatumType::I16,
        Ok(DataType::Int32) => DatumType::I32,
        Ok(DataType::Int64) => DatumType::I64,
        Ok(DataType::Uint8) => DatumType::U8,
        Ok(DataType::Uint16) => DatumType::U16,
        Ok(DataType::Uint32) => DatumType::U32,
        Ok(DataType::Uint64) => DatumType::U64,
        Ok(DataType::Bool) => DatumType::Bool,
        Ok(DataType::String) => bail!("Cast makes texts; encode texts as numbers before the model"),
        _ => bail!(
            "Cast makes a type that is not known here; export it with casts to float, double, int64, int32 or bool"
        ),
    };
    Ok((expand(Cast::To(to)), Vec::new()))
}

pub(super) fn cast_like(_: &ParsingContext, _: &NodeProto) -> Built {
    Ok((expand(Cast::Like), Vec::new()))
}

impl Expansion for Cast {
    fn name(&self) -> StaticName {
        "Cast".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].shape, &outputs[0].shape)?;
        match self {
            Cast::To(to) => {
                check_input_arity(inputs, 1)?;
                solver.given(&inputs[0].datum_type, |solver, from| {
                    solver.equals(&outputs[0].datum_type, result(from, *to))
                })
            }
            Cast::Like => {
                check_input_arity(inputs, 2)?;
                let types = (&inputs[0].datum_type, &inputs[1].datum_type);
                solver.given_2(types.0, types.1, |solver, from, to| {
                    solver.equals(&outputs[0].datum_type, result(from, to))
                })
            }
        }
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let to = match self {
            Cast::To(to) => *to,
            Cast::Like => model.outlet_fact(inputs[1])?.datum_type,
        };
        wire_cast(prefix, model, inputs[0], to)
    }
}

/// The type that a cast makes. Sizes of tensors stay what tract computes shapes with.
fn result(from: DatumType, to: DatumType) -> DatumType {
    let dimension = TDim::datum_type();
    match to == i64::datum_type() && from == dimension {
        true => dimension,
        false => to,
    }
}

/// Wires a cast as onnxruntime has it.
pub(super) fn wire_cast(
    prefix: &str,
    model: &mut TypedModel,
    input: OutletId,
    to: DatumType,
) -> TractResult<TVec<OutletId>> {
    let from = model.outlet_fact(input)?.datum_type;
    if from.is_float() && to.is_integer() {
        let truncate = ElementWiseOp(Box::new(Truncate(to)), None);
        return model.wire_node(prefix, truncate, &[input]);
    }
    model.wire_node(prefix, tracts(result(from, to)), &[input])
}

/// Whole numbers of this type from floating point ones.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Truncate(DatumType);

impl ElementWiseMiniOp for Truncate {
    fn name(&self) -> String {
        "Cast".to_owned()
    }

    fn output_type(&self, _: DatumType) -> Option<DatumType> {
        Some(self.0)
    }

    fn eval_out_of_place(&self, tensor: &Tensor, _: Option<DatumType>) -> TractResult<Tensor> {
        let numbers = tensor.cast_to::<f64>()?;
        let numbers = numbers.try_as_plain_ram()?;
        let (shape, numbers) = (tensor.shape(), numbers.as_slice::<f64>()?);
        match self.0 {
            DatumType::I8 => each(shape, numbers, |x| narrow(x) as i8),
            DatumType::I16 => each(shape, numbers, |x| narrow(x) as i16),
            DatumType::I32 => each(shape, numbers, narrow),
            DatumType::I64 => each(shape, numbers, wide),
            DatumType::U8 => each(shape, numbers, |x| narrow(x) as u8),
            DatumType::U16 => each(shape, numbers, |x| narrow(x) as u16),
            DatumType::U32 => each(shape, numbers, |x| wide(x) as u32),
            DatumType::U64 => each(shape, numbers, unsigned),
            other => bail!("Cast to {other:?} is not known here"),
        }
    }
}

fn each<T: Datum + Copy>(
    shape: &[usize],
    numbers: &[f64],
    function: impl Fn(f64) -> T,
) -> TractResult<Tensor> {
    let numbers: Vec<T> = numbers.iter().map(|x| function(*x)).collect();
    Tensor::from_shape(shape, &numbers)
}

/// A number of 32 bits: the smallest one means NaN and all that are out of range.
fn narrow(x: f64) -> i32 {
    i32::try_from(wide(x)).unwrap_or(i32::MIN)
}

/// A number of 64 bits: the smallest one means NaN and all that are out of range.
fn wide(x: f64) -> i64 {
    match RANGE.contains(&x) {
        true => x as i64,
        false => i64::MIN,
    }
}

/// Negative numbers wrap around; what is too large is 0.
fn unsigned(x: f64) -> u64 {
    match x >= RANGE.end {
        true => wide(x - RANGE.end) as u64 ^ (1 << 63),
        false => wide(x) as u64,
    }
}
