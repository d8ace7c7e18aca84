//! Operators of two numbers or more that tract computes otherwise than onnxruntime: `Max`, `Min`, `Mod`, `Mul`.

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::binary::{Nary, wire_cast, wire_rank_broadcast};
use tract_onnx::tract_hir::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_hir::tract_core::ops::math;

use super::attributes::{Attributes, Built};

/// A function of two numbers.
#[derive(Clone, Debug)]
struct Pair {
    name: &'static str,
    single: fn(f32, f32) -> f32,
    double: fn(f64, f64) -> f64,
    whole: fn(i64, i64) -> i64,
}

pub(super) fn register(register: &mut OnnxOpRegister) {
    register.insert("Max", |_, _| {
        let max = Pair {
            name: "Max",
            single: |a, b| larger(a, b),
            double: |a, b| larger(a, b),
            whole: i64::max,
        };
        fold(max, math::Max, |kind, _| kind.is_float())
    });
    register.insert("Min", |_, _| {
        let min = Pair {
            name: "Min",
            single: |a, b| smaller(a, b),
            double: |a, b| smaller(a, b),
            whole: i64::min,
        };
        fold(min, math::Min, |kind, _| kind.is_float())
    });
    register.insert("Mul", |_, _| {
        // tract takes what is multiplied by 0 for 0, whatever it is.
        let mul = Pair {
            name: "Mul",
            single: |a, b| a * b,
            double: |a, b| a * b,
            whole: i64::wrapping_mul,
        };
        fold(mul, math::Mul, |kind, zero| zero && kind.is_float())
    });
    register.insert("Mod", modulo);
}

/// The larger one. NaN passes through, on either side.
#[allow(clippy::eq_op)]
pub(super) fn larger<T: PartialOrd + Copy>(a: T, b: T) -> T {
    if b > a || b != b { b } else { a }
}

/// The smaller one, likewise.
#[allow(clippy::eq_op)]
pub(super) fn smaller<T: PartialOrd + Copy>(a: T, b: T) -> T {
    if b < a || b != b { b } else { a }
}

fn modulo(_: &ParsingContext, node: &NodeProto) -> Built {
    let mut modulo = Pair {
        name: "Mod",
        single: |a, b| a % b,
        double: |a, b| a % b,
        whole: |a, b| a.checked_rem(b).unwrap_or(0),
    };
    if Attributes(node).whole("fmod") != Some(1) {
        // The remainder has the divisor's sign.
        modulo.single = |a, b| signed(a % b, b);
        modulo.double = |a, b| signed(a % b, b);
        modulo.whole = |a, b| signed(a.checked_rem(b).unwrap_or(0), b);
    }
    fold(modulo, math::Rem, |_, _| true)
}

/// A remainder with the sign of its divisor.
fn signed<T: Copy + Default + PartialOrd + std::ops::Add<Output = T>>(rest: T, divisor: T) -> T {
    let zero = T::default();
    if rest != zero && (rest < zero) != (divisor < zero) {
        rest + divisor
    } else {
        rest
    }
}

fn fold(pair: Pair, tracts: impl BinMiniOp, ours: fn(DatumType, bool) -> bool) -> Built {
    let tracts = Nary(Box::new(tracts), false);
    let fold = Fold { pair, tracts, ours };
    Ok((expand(fold), Vec::new()))
}

/// An operator of two inputs or more, taken one after the other.
#[derive(Clone, Debug)]
struct Fold {
    pair: Pair,
    /// tract's operator, which is vectorized, and knows dimensions that are not fixed.
    tracts: Nary,
    /// True if our operator is needed: for numbers of that type, some constant among them being zero.
    ours: fn(DatumType, bool) -> bool,
}

impl Expansion for Fold {
    fn name(&self) -> StaticName {
        self.pair.name.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.tracts.rules(solver, inputs, outputs)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let facts = inputs.iter().map(|input| model.outlet_fact(*input));
        let facts = facts.collect::<TractResult<Vec<_>>>()?;
        let kinds: Vec<DatumType> = facts.iter().map(|fact| fact.datum_type).collect();
        let kind = DatumType::super_type_for(&kinds).context("the inputs' types do not mix")?;
        let mut constants = facts.iter().filter_map(|fact| fact.konst.as_ref());
        let zero = constants.any(|tensor| tensor.is_all_zero().unwrap_or(false));
        let op: Box<dyn BinMiniOp> = if (self.ours)(kind, zero) {
            Box::new(self.pair.clone())
        } else {
            self.tracts.0.clone()
        };
        let mut found = wire_cast(prefix, model, inputs, kind)?;
        let first = found.remove(0);
        let count = found.len();
        found
            .into_iter()
            .enumerate()
            .try_fold(tvec!(first), |so_far, (at, next)| {
                let name = match at + 1 == count {
                    true => prefix.to_owned(),
                    false => format!("{prefix}.{at}"),
                };
                let pair = wire_rank_broadcast(&name, model, &[so_far[0], next])?;
                model.wire_node(&name, TypedBinOp(op.clone(), None), &pair)
            })
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: fn(i64, i64) -> i64, b: fn(i64, i64) -> i64| std::ptr::fn_addr_eq(a, b);
        self.name == other.name && same(self.whole, other.whole)
    }
}

impl Eq for Pair {}

impl BinMiniOp for Pair {
    fn name(&self) -> &'static str {
        self.name
    }

    fn result_datum_type(&self, a: DatumType, b: DatumType) -> TractResult<DatumType> {
        self.operating_datum_type(a, b)
    }

    fn is_commutative(&self) -> bool {
        false
    }

    fn eval_in_a(&self, a: &mut Tensor, b: &Tensor) -> TractResult<()> {
        let (kind, shape) = (a.datum_type(), a.shape().to_vec());
        let mut c = Tensor::zero_dt(kind, &shape)?;
        self.eval_out_of_place(&mut c, a, b)?;
        *a = c;
        Ok(())
    }

    fn eval_out_of_place(&self, c: &mut Tensor, a: &Tensor, b: &Tensor) -> TractResult<()> {
        match c.datum_type() {
            DatumType::F32 => zip(c, a, b, self.single),
            DatumType::F64 => zip(c, a, b, self.double),
            DatumType::I64 => zip(c, a, b, self.whole),
            // Sizes of tensors are dimensions in tract.
            DatumType::I32 | DatumType::TDim => {
                let (wide_a, wide_b) = (a.cast_to::<i64>()?, b.cast_to::<i64>()?);
                let mut wide = Tensor::zero_dt(i64::datum_type(), c.shape())?;
                zip(&mut wide, &wide_a, &wide_b, self.whole)?;
                *c = wide.cast_to_dt(c.datum_type())?.into_owned();
                Ok(())
            }
            other => bail!("{} of {other:?} is not known here", self.name),
        }
    }
}

fn zip<T: Datum + Copy>(
    c: &mut Tensor,
    a: &Tensor,
    b: &Tensor,
    function: fn(T, T) -> T,
) -> TractResult<()> {
    let (a, b) = (a.to_plain_array_view::<T>()?, b.to_plain_array_view::<T>()?);
    let c = c.to_plain_array_view_mut::<T>()?;
    let zip = tract_ndarray::Zip::from(c)
        .and_broadcast(a)
        .and_broadcast(b);
    zip.for_each(|c, a, b| *c = function(*a, *b));
    Ok(())
}
