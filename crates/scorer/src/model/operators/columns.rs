//! `FeatureVectorizer`, which joins columns.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::array::TypedConcat;
use tract_onnx::tract_hir::tract_core::ops::cast::wire_cast;

use super::attributes::{Attributes, Built};

/// Columns beside each other, as numbers of single precision.
#[derive(Clone, Debug)]
struct Vectorizer {
    widths: Vec<i64>,
}

pub(super) fn feature_vectorizer(_: &ParsingContext, node: &NodeProto) -> Built {
    let widths = Attributes(node).wholes("inputdimensions").to_vec();
    Ok((expand(Vectorizer { widths }), Vec::new()))
}

impl Expansion for Vectorizer {
    fn name(&self) -> StaticName {
        "FeatureVectorizer".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_output_arity(outputs, 1)?;
        solver.equals(&outputs[0].datum_type, f32::datum_type())?;
        let shapes = inputs.iter().map(|input| &input.shape);
        solver.given_all(shapes, move |solver, shapes: Vec<TVec<TDim>>| {
            let mut width = 0.to_dim();
            for (at, shape) in shapes.iter().enumerate() {
                ensure!(shape.len() == 2, "FeatureVectorizer takes matrices");
                let given = self.widths.get(at);
                let given = given.is_none_or(|width| shape[1] == width.to_dim());
                ensure!(
                    given,
                    "FeatureVectorizer's inputs are of other widths than it says"
                );
                width += &shape[1];
            }
            let rows = shapes.first().context("FeatureVectorizer has no input")?[0].clone();
            solver.equals(&outputs[0].shape, tvec!(rows, width))
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let inputs = wire_cast(prefix, model, inputs, f32::datum_type())?;
        model.wire_node(prefix, TypedConcat::new(1), &inputs)
    }
}
