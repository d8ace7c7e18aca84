//! A function of each number by itself, as a tract operator.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::element_wise::ElementWiseIntoHir;
use tract_onnx::tract_hir::tract_core::ops::element_wise::ElementWiseOp;

use super::attributes::Built;

/// Changes numbers in place.
type Each<T> = Arc<dyn Fn(&mut [T]) + Send + Sync>;

/// A function of one number, for each type of number that it takes.
#[derive(Clone)]
pub(super) struct Function {
    name: &'static str,
    single: Option<Each<f32>>,
    double: Option<Each<f64>>,
    whole: Option<Each<i64>>,
    /// tract's vectorized variant for single precision, which makes numbers of what is none.
    kernel: Option<fn() -> ElementWiseOp>,
}

/// A [`Function`] of both precisions from one expression; `parameters` are numbers of double precision.
macro_rules! function {
    ($name:expr, |$x:ident $(, $parameter:ident)*| $value:expr) => {
        Function::floating(
            $name,
            {
                $(let $parameter = $parameter as f32;)*
                move |$x: f32| -> f32 { $value }
            },
            {
                $(let $parameter: f64 = $parameter;)*
                move |$x: f64| -> f64 { $value }
            },
        )
    };
}
pub(super) use function;

fn each<T: Copy>(function: impl Fn(T) -> T + Send + Sync + 'static) -> Option<Each<T>> {
    Some(Arc::new(move |numbers: &mut [T]| {
        numbers.iter_mut().for_each(|x| *x = function(*x));
    }))
}

impl Function {
    /// A function of floating point numbers.
    pub(super) fn floating(
        name: &'static str,
        single: impl Fn(f32) -> f32 + Send + Sync + 'static,
        double: impl Fn(f64) -> f64 + Send + Sync + 'static,
    ) -> Self {
        Function {
            name,
            single: each(single),
            double: each(double),
            whole: None,
            kernel: None,
        }
    }

    /// A function of whole numbers alone.
    pub(super) fn of_whole(
        name: &'static str,
        whole: impl Fn(i64) -> i64 + Send + Sync + 'static,
    ) -> Self {
        Function {
            name,
            single: None,
            double: None,
            whole: each(whole),
            kernel: None,
        }
    }

    /// The same, taking whole numbers too.
    pub(super) fn or_whole(self, whole: impl Fn(i64) -> i64 + Send + Sync + 'static) -> Self {
        Function {
            whole: each(whole),
            ..self
        }
    }

    /// The same, computed by tract's `kernel` in single precision.
    pub(super) fn by_kernel(self, kernel: fn() -> ElementWiseOp) -> Self {
        Function {
            kernel: Some(kernel),
            ..self
        }
    }

    /// The operator to wire into a typed graph.
    pub(super) fn typed(self) -> ElementWiseOp {
        ElementWiseOp(Box::new(self), None)
    }

    /// The result of a builder, as tract's reader takes it.
    pub(super) fn built(self) -> Built {
        Ok((self.typed().into_hir(), Vec::new()))
    }
}

impl Debug for Function {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        // Functions that share their code are copies of one node's.
        let same = |a: &Option<Each<f32>>, b: &Option<Each<f32>>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        self.name == other.name && same(&self.single, &other.single)
    }
}

impl Eq for Function {}

impl ElementWiseMiniOp for Function {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn eval_in_place(&self, tensor: &mut Tensor, _: Option<DatumType>) -> TractResult<()> {
        let kind = tensor.datum_type();
        let mut missing = Vec::new();
        if let Some(kernel) = self.kernel
            && kind == f32::datum_type()
        {
            let numbers = tensor.try_as_plain_ram()?;
            let numbers = numbers.as_slice::<f32>()?.iter().enumerate();
            missing.extend(numbers.filter(|(_, x)| x.is_nan()).map(|(at, _)| at));
            kernel().0.eval_in_place(tensor, None)?;
            let mut numbers = tensor.try_as_plain_ram_mut()?;
            let numbers = numbers.as_slice_mut::<f32>()?;
            missing.iter().for_each(|at| numbers[*at] = f32::NAN);
            return Ok(());
        }
        if kind == i32::datum_type() && self.whole.is_some() {
            let mut wide = tensor.cast_to::<i64>()?.into_owned();
            self.eval_in_place(&mut wide, None)?;
            *tensor = wide.cast_to::<i32>()?.into_owned();
            return Ok(());
        }
        let mut numbers = tensor.try_as_plain_ram_mut()?;
        match (&self.single, &self.double, &self.whole) {
            (Some(each), _, _) if kind == f32::datum_type() => each(numbers.as_slice_mut()?),
            (_, Some(each), _) if kind == f64::datum_type() => each(numbers.as_slice_mut()?),
            (_, _, Some(each)) if kind == i64::datum_type() => each(numbers.as_slice_mut()?),
            _ => bail!("{} of {kind:?} is not known here", self.name),
        }
        Ok(())
    }
}
