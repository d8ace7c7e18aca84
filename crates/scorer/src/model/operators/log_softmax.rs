//! `LogSoftmax` that stays finite for numbers far apart.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::math;

use super::attributes::{Attributes, Built};
use super::keeps_type_and_shape;
use super::over::{Over, Reducer};

/// The numbers less the logarithm of the sum of their exponentials.
#[derive(Clone, Debug)]
struct LogSoftmax {
    axis: i64,
    /// True if all axes from that one on are taken together, as in old operator sets.
    together: bool,
}

pub(super) fn log_softmax(context: &ParsingContext, node: &NodeProto) -> Built {
    let together = context.onnx_operator_set_version < 13;
    let axis = Attributes(node).whole("axis");
    let axis = axis.unwrap_or(if together { 1 } else { -1 });
    Ok((expand(LogSoftmax { axis, together }), Vec::new()))
}

impl Expansion for LogSoftmax {
    fn name(&self) -> StaticName {
        "LogSoftmax".into()
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
        let rank = model.outlet_fact(inputs[0])?.rank();
        let axis = if self.axis < 0 {
            self.axis + rank as i64
        } else {
            self.axis
        };
        let axis = usize::try_from(axis).ok().filter(|axis| *axis < rank);
        let axis = axis.with_context(|| format!("there is no axis {} of {rank}", self.axis))?;
        let axes: Vec<usize> = if self.together {
            (axis..rank).collect()
        } else {
            vec![axis]
        };
        let over = |reducer| Over {
            reducer,
            axes: axes.clone(),
        };
        // The largest is taken out first: beside it the logarithm of the sum is small, and keeps its digits.
        let largest = model.wire_node(format!("{prefix}.max"), over(Reducer::Max), inputs)?[0];
        let rest =
            model.wire_node(format!("{prefix}.rest"), math::sub(), &[inputs[0], largest])?[0];
        let sum = model.wire_node(format!("{prefix}.sum"), over(Reducer::LogSumExp), &[rest])?[0];
        model.wire_node(prefix, math::sub(), &[rest, sum])
    }
}
