//! `Imputer` and `Binarizer`, which keep a tensor's shape.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::element_wise::ElementWiseIntoHir;
use tract_onnx::tract_hir::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_hir::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_hir::tract_core::ops::logic::{Iff, comp_eq};
use tract_onnx::tract_hir::tract_core::ops::math::is_nan;

use super::attributes::{Attributes, Built};
use super::keeps_type_and_shape;

/// Puts a number in the place of those that stand for a missing one.
#[derive(Clone, Debug)]
struct Imputer {
    /// One for each column, or one for all.
    values: Arc<Tensor>,
    missing: Arc<Tensor>,
    /// True if NaN is the missing value.
    nan: bool,
}

pub(super) fn imputer(_: &ParsingContext, node: &NodeProto) -> Built {
    let found = Attributes(node);
    let imputer = match (
        found.numbers("imputed_value_floats"),
        found.wholes("imputed_value_int64s"),
    ) {
        ([], []) => bail!("the imputer has no values"),
        ([], wholes) => Imputer {
            values: rctensor1(wholes),
            missing: rctensor0(found.whole("replaced_value_int64").unwrap_or(0)),
            nan: false,
        },
        (floats, _) => {
            let missing = found.number("replaced_value_float").unwrap_or(0.0);
            Imputer {
                values: rctensor1(floats),
                missing: rctensor0(missing),
                nan: missing.is_nan(),
            }
        }
    };
    Ok((expand(imputer), Vec::new()))
}

impl Expansion for Imputer {
    fn name(&self) -> StaticName {
        "Imputer".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        keeps_type_and_shape(solver, inputs, outputs, 1)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let fact = model.outlet_fact(inputs[0])?;
        let kind = fact.datum_type;
        let rank = fact.rank();
        ensure!(
            kind.is_integer() == self.values.datum_type().is_integer(),
            "Imputer's values are of another type than its input"
        );
        let width = fact.shape.last().map_or(1.to_dim(), TDim::clone);
        let count = self.values.len();
        ensure!(
            count == 1 || width == count.to_dim(),
            "Imputer: {count} values for {width} columns"
        );
        let constant = |tensor: &Tensor| {
            tensor
                .cast_to_dt(kind)?
                .into_owned()
                .broadcast_into_rank(rank)
        };
        let values = model.add_const(format!("{prefix}.values"), constant(&self.values)?)?;
        let missing = if self.nan {
            model.wire_node(format!("{prefix}.missing"), is_nan(), inputs)?[0]
        } else {
            let missing = model.add_const(format!("{prefix}.what"), constant(&self.missing)?)?;
            let equal = TypedBinOp(comp_eq(), None);
            model.wire_node(format!("{prefix}.missing"), equal, &[inputs[0], missing])?[0]
        };
        let imputed = [missing, values, inputs[0]];
        model.wire_node(prefix, Iff, &imputed)
    }
}

/// 1 above the threshold, else 0.
#[derive(Clone, Debug)]
struct Binarizer(f32);

pub(super) fn binarizer(_: &ParsingContext, node: &NodeProto) -> Built {
    let binarizer = Binarizer(Attributes(node).number("threshold").unwrap_or(0.0));
    Ok((
        ElementWiseOp(Box::new(binarizer), None).into_hir(),
        Vec::new(),
    ))
}

impl PartialEq for Binarizer {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Binarizer {}

impl ElementWiseMiniOp for Binarizer {
    fn name(&self) -> String {
        "Binarizer".to_owned()
    }

    fn eval_in_place(&self, tensor: &mut Tensor, _: Option<DatumType>) -> TractResult<()> {
        let mut numbers = tensor.try_as_plain_ram_mut()?;
        for x in numbers.as_slice_mut::<f32>()? {
            // As onnxruntime, which fails on such a row.
            ensure!(!x.is_nan(), "Binarizer is given what is not a number");
            *x = f32::from(u8::from(*x > self.0));
        }
        Ok(())
    }
}
