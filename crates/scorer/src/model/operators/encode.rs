//! Operators that pick or encode columns: `OneHotEncoder`, `ArrayFeatureExtractor`,
//! `FeatureVectorizer`, `LabelEncoder`; of numbers, not of texts.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::{Attributes, Built};
use super::rowwise::{Numbers, Rows, rowwise, single};

/// For each number, a 1 at its category among 0s.
#[derive(Debug)]
struct OneHot {
    categories: Vec<i64>,
}

pub(super) fn one_hot_encoder(_: &ParsingContext, node: &NodeProto) -> Built {
    let categories = Attributes(node).wholes("cats_int64s").to_vec();
    ensure!(
        !categories.is_empty(),
        "OneHotEncoder encodes texts; encode categories as numbers before the model"
    );
    rowwise(OneHot { categories })
}

impl Rows for OneHot {
    fn name(&self) -> &'static str {
        "OneHotEncoder"
    }

    fn shape(&self, width: usize) -> TractResult<Vec<usize>> {
        Ok(vec![width, self.categories.len()])
    }

    fn run(&self, rows: Numbers<'_>, _: usize, output: &mut [f32], _: &mut [i64]) {
        single(rows, |rows| {
            for (out, x) in output.chunks_exact_mut(self.categories.len()).zip(rows) {
                // Numbers are cut to whole ones; an unknown category is all 0s.
                let number = *x as i64;
                for (out, category) in out.iter_mut().zip(&self.categories) {
                    *out = f32::from(u8::from(*category == number));
                }
            }
        });
    }
}

/// Puts numbers in the place of numbers.
#[derive(Debug)]
struct LabelEncoder {
    keys: Vec<f32>,
    values: Vec<f32>,
    default: f32,
}

pub(super) fn label_encoder(_: &ParsingContext, node: &NodeProto) -> Built {
    let found = Attributes(node);
    let numbers = |name: &str| -> TractResult<Vec<f32>> {
        let floats = found.numbers(&format!("{name}_floats"));
        let wholes = found.wholes(&format!("{name}_int64s"));
        ensure!(
            !(floats.is_empty() && wholes.is_empty()),
            "LabelEncoder has no numeric {name}; encode categories as numbers before the model"
        );
        let wholes = wholes.iter().map(|whole| *whole as f32);
        Ok(floats.iter().copied().chain(wholes).collect())
    };
    let (keys, values) = (numbers("keys")?, numbers("values")?);
    ensure!(
        keys.len() == values.len(),
        "LabelEncoder's keys and values differ in number"
    );
    let whole = found.whole("default_int64").map(|whole| whole as f32);
    let default = found.number("default_float").or(whole).unwrap_or(-1.0);
    rowwise(LabelEncoder {
        keys,
        values,
        default,
    })
}

impl Rows for LabelEncoder {
    fn name(&self) -> &'static str {
        "LabelEncoder"
    }

    fn shape(&self, width: usize) -> TractResult<Vec<usize>> {
        Ok(vec![width])
    }

    fn run(&self, rows: Numbers<'_>, _: usize, output: &mut [f32], _: &mut [i64]) {
        single(rows, |rows| {
            for (out, x) in output.iter_mut().zip(rows) {
                let found = self
                    .keys
                    .iter()
                    .position(|key| key == x || (key.is_nan() && x.is_nan()));
                *out = found.map_or(self.default, |index| self.values[index]);
            }
        });
    }
}

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
