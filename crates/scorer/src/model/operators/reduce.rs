//! `ReduceLogSumExp` that does not overflow: the largest number is taken out before the exponential.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::nn::{Reduce, Reducer};
use tract_onnx::tract_hir::tract_core::ops::math;

use super::attributes::Built;

#[derive(Clone, Debug)]
struct LogSumExp(Reduce);

pub(super) fn log_sum_exp(_: &ParsingContext, node: &NodeProto) -> Built {
    // Later versions take the axes as an input, which exporters do not use for this operator yet.
    ensure!(
        node.input.len() == 1,
        "ReduceLogSumExp with computed axes is not known here"
    );
    let axes: Option<Vec<i64>> = node.get_attr_opt_vec("axes")?;
    let keep = node.get_attr_opt::<i64>("keepdims")?.unwrap_or(1) != 0;
    Ok((
        expand(LogSumExp(Reduce::new(axes, keep, Reducer::LogSumExp))),
        Vec::new(),
    ))
}

impl Expansion for LogSumExp {
    fn name(&self) -> StaticName {
        "ReduceLogSumExp".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.0.rules(solver, inputs, outputs)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let Reduce {
            axes, keep_dims, ..
        } = self.0.clone();
        let reduce = |keep, reducer| Reduce::new(axes.clone(), keep, reducer);
        let wide = reduce(true, Reducer::Max).wire(&format!("{prefix}.max"), model, inputs)?[0];
        let less = [inputs[0], wide];
        let rest = model.wire_node(format!("{prefix}.rest"), math::sub(), &less)?[0];
        let powers = model.wire_node(format!("{prefix}.exp"), math::exp(), &[rest])?;
        let sum = reduce(keep_dims, Reducer::Sum).wire(&format!("{prefix}.sum"), model, &powers)?;
        let log = model.wire_node(format!("{prefix}.ln"), math::ln(), &sum)?[0];
        let name = format!("{prefix}.largest");
        let largest = reduce(keep_dims, Reducer::Max).wire(&name, model, inputs)?[0];
        model.wire_node(prefix, math::add(), &[log, largest])
    }
}
