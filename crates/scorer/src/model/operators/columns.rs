//! Operators that pick or join columns: `ArrayFeatureExtractor`, `FeatureVectorizer`.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::array::TypedConcat;
use tract_onnx::tract_hir::tract_core::ops::cast::wire_cast;

use super::attributes::{Attributes, Built};

/// The last axis of a tensor, picked by index. What it is given may be of any type.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Extract;

pub(super) fn array_feature_extractor(_: &ParsingContext, _: &NodeProto) -> Built {
    Ok((expand(Extract), Vec::new()))
}

impl Expansion for Extract {
    fn name(&self) -> StaticName {
        "ArrayFeatureExtractor".into()
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
        solver.given_2(
            &inputs[0].shape,
            &inputs[1].shape,
            move |solver, data, indices| {
                let count: TDim = indices.iter().product();
                // A vector counts as one row.
                let mut shape = if data.len() == 1 {
                    tvec!(1.to_dim())
                } else {
                    data
                };
                if shape.len() > 1 {
                    shape.pop();
                }
                shape.push(count);
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
        use tract_onnx::tract_hir::tract_core::ops::array::Gather;
        let mut data = inputs[0];
        let mut indices = inputs[1];
        if model.outlet_fact(data)?.rank() == 1 {
            data = model.wire_node(format!("{prefix}.row"), AxisOp::Add(0), &[data])?[0];
        }
        // Indices come as a row; only their order counts.
        let shape = model.outlet_fact(indices)?.shape.to_tvec();
        if shape.len() != 1 {
            let flat = tvec!(shape.iter().product::<TDim>());
            let reshape = AxisOp::Reshape(0, shape, flat);
            indices = model.wire_node(format!("{prefix}.flat"), reshape, &[indices])?[0];
        }
        let axis = model.outlet_fact(data)?.rank() - 1;
        model.wire_node(prefix, Gather::new(axis), &[data, indices])
    }
}

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
