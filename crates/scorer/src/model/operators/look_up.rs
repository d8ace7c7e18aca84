//! Look-ups by index: `Gather`, `GatherElements`, `GatherND`, `ArrayFeatureExtractor`. An index beyond the data is an
//! error that names it, where tract reads what lies beside the row, or panics.

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::array::{Gather, GatherElements, GatherNd};

use super::attributes::{Attributes, Built};
use super::in_range::{Axes, wire_in_range};

pub(super) fn register(register: &mut OnnxOpRegister) {
    register.insert("ArrayFeatureExtractor", |_, _| {
        Ok((expand(Extract), Vec::new()))
    });
    register.insert("Gather", |_, node| {
        let axis = Attributes(node).whole("axis").unwrap_or(0);
        Ok((
            expand(AlongAxis {
                axis,
                elements: false,
            }),
            Vec::new(),
        ))
    });
    register.insert("GatherElements", |_, node| {
        let axis = Attributes(node).whole("axis").unwrap_or(0);
        Ok((
            expand(AlongAxis {
                axis,
                elements: true,
            }),
            Vec::new(),
        ))
    });
    register.insert("GatherND", gather_nd);
}

/// `Gather` or, of `elements`, `GatherElements`.
#[derive(Clone, Debug)]
struct AlongAxis {
    axis: i64,
    elements: bool,
}

impl Expansion for AlongAxis {
    fn name(&self) -> StaticName {
        "Gather".into()
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
        if self.elements {
            solver.equals(&inputs[0].rank, &inputs[1].rank)?;
            return solver.equals(&outputs[0].shape, &inputs[1].shape);
        }
        let shapes = (&inputs[0].shape, &inputs[1].shape);
        solver.given_2(shapes.0, shapes.1, move |solver, data, indices| {
            let gather = Gather::new(from_start(self.axis, data.len())?);
            let shape = gather.compute_output_shape(&data, &indices)?;
            solver.equals(&outputs[0].shape, shape)
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let (data, rank) = (inputs[0], model.outlet_fact(inputs[0])?.rank());
        let axis = from_start(self.axis, rank)?;
        let indices = wire_in_range(prefix, model, data, inputs[1], Axes::One(axis))?;
        match self.elements {
            true => model.wire_node(prefix, GatherElements { axis }, &[data, indices]),
            false => model.wire_node(prefix, Gather::new(axis), &[data, indices]),
        }
    }
}

/// The number of an axis that may be counted from the last one.
fn from_start(axis: i64, rank: usize) -> TractResult<usize> {
    let at = if axis < 0 { axis + rank as i64 } else { axis };
    let at = usize::try_from(at).ok().filter(|at| *at < rank);
    at.with_context(|| format!("there is no axis {axis} of {rank}"))
}

#[derive(Clone, Debug)]
struct ByPlace {
    batch_dims: usize,
}

fn gather_nd(_: &ParsingContext, node: &NodeProto) -> Built {
    let batch_dims = Attributes(node).whole("batch_dims").unwrap_or(0);
    let batch_dims = usize::try_from(batch_dims)?;
    Ok((expand(ByPlace { batch_dims }), Vec::new()))
}

impl Expansion for ByPlace {
    fn name(&self) -> StaticName {
        "GatherND".into()
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
        let shapes = (&inputs[0].shape, &inputs[1].shape);
        solver.given_2(shapes.0, shapes.1, move |solver, data, mut indices| {
            let places = indices.pop().context("GatherND's indices have no axis")?;
            let known = self.batch_dims + places.to_usize()?;
            ensure!(
                known <= data.len(),
                "GatherND's indices name more axes than there are"
            );
            indices.extend(data[known..].iter().cloned());
            solver.equals(&outputs[0].shape, indices)
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let axes = Axes::Several(self.batch_dims);
        let indices = wire_in_range(prefix, model, inputs[0], inputs[1], axes)?;
        let gather = GatherNd {
            batch_dims: self.batch_dims,
        };
        model.wire_node(prefix, gather, &[inputs[0], indices])
    }
}

/// The last axis of a tensor, picked by index. Its input may be of any type.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Extract;

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
        let mut data = inputs[0];
        let mut indices = inputs[1];
        if model.outlet_fact(data)?.rank() == 1 {
            data = model.wire_node(format!("{prefix}.row"), AxisOp::Add(0), &[data])?[0];
        }
        // Indices come as a row, or as one number; only their order counts.
        let shape = model.outlet_fact(indices)?.shape.to_tvec();
        if shape.len() != 1 {
            let flat = match shape.is_empty() {
                true => AxisOp::Add(0),
                false => {
                    let count = tvec!(shape.iter().product::<TDim>());
                    AxisOp::Reshape(0, shape, count)
                }
            };
            indices = model.wire_node(format!("{prefix}.flat"), flat, &[indices])?[0];
        }
        let axis = model.outlet_fact(data)?.rank() - 1;
        let indices = wire_in_range(prefix, model, data, indices, Axes::FromStart(axis))?;
        model.wire_node(prefix, Gather::new(axis), &[data, indices])
    }
}
