//! `LayerNormalization`, in double precision inside: far from zero, single precision loses the differences that it is
//! about.

use tract_onnx::model::{ParsingContext, optional_outputs};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::logic::wire_with_rank_broadcast;
use tract_onnx::tract_hir::tract_core::ops::math::{add, mul};

use super::attributes::{Attributes, Built};

/// `LayerNormalization` as the file has it.
#[derive(Clone, Debug)]
struct LayerNormalization {
    axis: i64,
    epsilon: f64,
    /// The places of mean and inverse deviation among the outputs, where they are wanted.
    extra: [Option<usize>; 2],
}

/// Numbers less their mean, over their deviation; then mean and inverse deviation.
#[derive(Clone, Debug, PartialEq)]
struct Normalize {
    /// The first of the axes that it goes over.
    axis: usize,
    epsilon: f64,
}

impl Eq for Normalize {}

pub(super) fn layer_normalization(_: &ParsingContext, node: &NodeProto) -> Built {
    let found = Attributes(node);
    let mut outputs = optional_outputs(node).skip(1);
    let op = LayerNormalization {
        axis: found.whole("axis").unwrap_or(-1),
        epsilon: found.number("epsilon").unwrap_or(1e-5).into(),
        extra: [outputs.next().flatten(), outputs.next().flatten()],
    };
    Ok((expand(op), Vec::new()))
}

impl LayerNormalization {
    fn axis(&self, rank: usize) -> TractResult<usize> {
        let axis = match self.axis {
            axis if axis < 0 => axis + rank as i64,
            axis => axis,
        };
        let axis = usize::try_from(axis).ok().filter(|axis| *axis < rank);
        axis.with_context(|| format!("there is no axis {} of {rank}", self.axis))
    }
}

impl Expansion for LayerNormalization {
    fn name(&self) -> StaticName {
        "LayerNormalization".into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(1 + self.extra.iter().flatten().count())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        solver.equals(&inputs[0].shape, &outputs[0].shape)?;
        for place in self.extra.into_iter().flatten() {
            solver.equals(&outputs[place].datum_type, f32::datum_type())?;
            solver.given(&inputs[0].shape, move |solver, mut shape| {
                let axis = self.axis(shape.len())?;
                shape[axis..].fill(1.to_dim());
                solver.equals(&outputs[place].shape, shape)
            })?;
        }
        Ok(())
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let axis = self.axis(model.outlet_fact(inputs[0])?.rank())?;
        let op = Normalize {
            axis,
            epsilon: self.epsilon,
        };
        let found = model.wire_node(format!("{prefix}.normalized"), op, &inputs[..1])?;
        let scaled = &[found[0], inputs[1]];
        let mut output =
            wire_with_rank_broadcast(format!("{prefix}.scaled"), model, mul(), scaled)?;
        if let Some(bias) = inputs.get(2) {
            let biased = &[output[0], *bias];
            output = wire_with_rank_broadcast(format!("{prefix}.biased"), model, add(), biased)?;
        }
        let extra = self.extra.iter().zip(&found[1..]);
        output.extend(extra.filter_map(|(place, outlet)| place.map(|_| *outlet)));
        Ok(output)
    }
}

impl Normalize {
    fn run<T: Datum + Copy + Into<f64>>(
        &self,
        input: &Tensor,
        narrow: impl Fn(f64) -> T,
    ) -> TractResult<TVec<TValue>> {
        let size: usize = input.shape()[self.axis..].iter().product();
        let numbers = input.try_as_plain_ram()?;
        let numbers = numbers.as_slice::<T>()?;
        let mut normalized = Vec::with_capacity(numbers.len());
        let (mut means, mut inverses) = (Vec::new(), Vec::new());
        // What overflows in the input's own precision is infinite, as in onnxruntime.
        let mean = |sum: f64| {
            let narrowed: f64 = narrow(sum).into();
            let sum = if narrowed.is_finite() { sum } else { narrowed };
            sum / size as f64
        };
        for lane in numbers.chunks_exact(size.max(1)) {
            let middle = mean(sum(lane, |x| x));
            let variance = mean(sum(lane, |x| (x - middle) * (x - middle)));
            let inverse = 1.0 / (variance + self.epsilon).sqrt();
            let number = |x: &T| narrow(((*x).into() - middle) * inverse);
            normalized.extend(lane.iter().map(number));
            means.push(middle as f32);
            inverses.push(inverse as f32);
        }
        let mut kept = input.shape().to_vec();
        kept[self.axis..].fill(1);
        Ok(tvec!(
            Tensor::from_shape(input.shape(), &normalized)?.into_tvalue(),
            Tensor::from_shape(&kept, &means)?.into_tvalue(),
            Tensor::from_shape(&kept, &inverses)?.into_tvalue(),
        ))
    }
}

/// The sum of a function of numbers, always in the same order: eight sums beside each other, which processors add at once.
fn sum<T: Copy + Into<f64>>(lane: &[T], function: impl Fn(f64) -> f64) -> f64 {
    let (eights, rest) = lane.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for eight in eights {
        for (sum, x) in sums.iter_mut().zip(eight) {
            *sum += function((*x).into());
        }
    }
    let rest = rest.iter().map(|x| function((*x).into()));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

impl Op for Normalize {
    fn name(&self) -> StaticName {
        "LayerNormalization".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Normalize {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        match input.datum_type() {
            DatumType::F32 => self.run::<f32>(&input, |x| x as f32),
            DatumType::F64 => self.run::<f64>(&input, |x| x),
            other => bail!("LayerNormalization of {other:?} is not known here"),
        }
    }
}

impl TypedOp for Normalize {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let input = inputs[0];
        let mut kept = input.shape.to_tvec();
        kept[self.axis..].fill(1.to_dim());
        let extra = f32::fact(kept);
        Ok(tvec!(
            input.datum_type.fact(input.shape.clone()),
            extra.clone(),
            extra
        ))
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_far_from_zero_keep_their_differences() {
        let op = Normalize {
            axis: 1,
            epsilon: 1e-5,
        };
        // By numpy, in double precision.
        for (row, expected) in [
            (
                [1000.0, 1001.0, 1000.0],
                [-0.707_090_87, 1.414_181_7, -0.707_090_87],
            ),
            (
                [1e6, 1e6 + 1.0, 1e6],
                [-0.707_090_87, 1.414_181_7, -0.707_090_87],
            ),
            ([5.0, 5.0, 5.0], [0.0; 3]),
        ] {
            let input = tensor2(&[row.map(|x: f64| x as f32)]);
            let found = op.run::<f32>(&input, |x| x as f32).unwrap();
            let found = found[0].try_as_plain_ram().unwrap();
            for (ours, right) in found.as_slice::<f32>().unwrap().iter().zip(expected) {
                assert!((f64::from(*ours) - right).abs() < 1e-6, "{row:?}: {ours}");
            }
        }
    }
}
