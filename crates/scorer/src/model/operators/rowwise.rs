//! The frame of our operators: a matrix of numbers in, for each row some numbers out.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::*;

use super::attributes::Built;

/// An operator on the rows of a matrix.
pub(super) trait Rows: std::fmt::Debug + Send + Sync + 'static {
    /// The operator's name.
    fn name(&self) -> &'static str;

    /// The shape of what becomes of one row of `width` numbers.
    ///
    /// # Errors
    ///
    /// The operator does not take rows of that width.
    fn shape(&self, width: usize) -> TractResult<Vec<usize>>;

    /// True if a label for each row comes before the numbers, as classifiers have it.
    fn labels(&self) -> bool {
        false
    }

    /// Computes `output`, which is all zeros, from `rows` of `width` numbers. `labels` has one place for
    /// each row where the operator has labels, and is empty otherwise.
    ///
    /// # Errors
    ///
    /// The operator does not take one of the numbers.
    fn run(
        &self,
        rows: Numbers<'_>,
        width: usize,
        output: &mut [f32],
        labels: &mut [i64],
    ) -> TractResult<()>;
}

/// The numbers of a matrix, row after row.
#[derive(Clone, Copy)]
pub(super) enum Numbers<'a> {
    /// Of single precision, or cast to it.
    Single(&'a [f32]),
    /// Of double precision.
    Double(&'a [f64]),
    /// Whole ones.
    Whole(&'a [i64]),
}

/// Runs `work` on single precision numbers, cast if need be.
pub(super) fn single<R>(numbers: Numbers<'_>, work: impl FnOnce(&[f32]) -> R) -> R {
    match numbers {
        Numbers::Single(numbers) => work(numbers),
        Numbers::Double(numbers) => work(&numbers.iter().map(|x| *x as f32).collect::<Vec<_>>()),
        Numbers::Whole(numbers) => work(&numbers.iter().map(|x| *x as f32).collect::<Vec<_>>()),
    }
}

/// A tract operator of rows.
#[derive(Clone, Debug)]
pub(super) struct Rowwise(pub(super) Arc<dyn Rows>);

/// The result of a builder, as tract's reader takes it.
pub(super) fn rowwise(rows: impl Rows) -> Built {
    Ok((expand(Rowwise(Arc::new(rows))), Vec::new()))
}

impl PartialEq for Rowwise {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Rowwise {}

impl Expansion for Rowwise {
    fn name(&self) -> StaticName {
        self.0.name().into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(if self.0.labels() { 2 } else { 1 })
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        let mut numbers = 0;
        if self.0.labels() {
            solver.equals(&outputs[0].datum_type, i64::datum_type())?;
            solver.equals(&outputs[0].rank, 1)?;
            solver.equals(&outputs[0].shape[0], &inputs[0].shape[0])?;
            numbers = 1;
        }
        // A classifier's labels may be left out.
        let Some(output) = outputs.get(numbers) else {
            return Ok(());
        };
        solver.equals(&inputs[0].rank, 2)?;
        solver.equals(&output.datum_type, f32::datum_type())?;
        solver.equals(&output.shape[0], &inputs[0].shape[0])?;
        solver.given(&inputs[0].shape[1], move |solver, width| {
            let shape = self.0.shape(width.to_usize()?)?;
            solver.equals(&output.rank, shape.len() as i64 + 1)?;
            for (axis, size) in shape.iter().enumerate() {
                solver.equals(&output.shape[axis + 1], size.to_dim())?;
            }
            Ok(())
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for Rowwise {
    fn name(&self) -> StaticName {
        self.0.name().into()
    }

    op_as_typed_op!();
}

impl EvalOp for Rowwise {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let [count, width] = *input.shape() else {
            bail!("{} takes a matrix, not {:?}", self.0.name(), input.shape());
        };
        let mut shape = self.0.shape(width)?;
        let mut output = vec![0.0; count * shape.iter().product::<usize>()];
        let mut labels = vec![0; if self.0.labels() { count } else { 0 }];
        let kind = input.datum_type();
        let cast = match kind {
            kind if kind.is_integer() => input.cast_to::<i64>()?,
            kind if kind == f64::datum_type() => input.cast_to::<f64>()?,
            _ => input.cast_to::<f32>()?,
        };
        let numbers = cast.try_as_plain_ram()?;
        let numbers = match cast.datum_type() {
            DatumType::I64 => Numbers::Whole(numbers.as_slice()?),
            DatumType::F64 => Numbers::Double(numbers.as_slice()?),
            _ => Numbers::Single(numbers.as_slice()?),
        };
        self.0.run(numbers, width, &mut output, &mut labels)?;
        shape.insert(0, count);
        let output = Tensor::from_shape(&shape, &output)?.into_tvalue();
        Ok(if self.0.labels() {
            tvec!(tensor1(&labels).into(), output)
        } else {
            tvec!(output)
        })
    }
}

impl TypedOp for Rowwise {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let rows = inputs[0].shape[0].clone();
        let width = inputs[0].shape[1].to_usize()?;
        let row = self.0.shape(width)?.into_iter().map(|size| size.to_dim());
        let shape: TVec<TDim> = std::iter::once(rows.clone()).chain(row).collect();
        let mut facts = tvec!(f32::fact(shape));
        if self.0.labels() {
            facts.insert(0, i64::fact([rows]));
        }
        Ok(facts)
    }

    as_op!();
}
