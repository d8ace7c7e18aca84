//! `OneHotEncoder` and `LabelEncoder`; of numbers, not of texts.

use std::sync::Arc;

use hashbrown::HashMap;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::element_wise::ElementWiseIntoHir;
use tract_onnx::tract_hir::tract_core::ops::element_wise::ElementWiseOp;

use super::attributes::{Attributes, Built, ml_version};
use super::rowwise::{Numbers, Rows, rowwise};

/// For each number, a 1 at its category among 0s.
#[derive(Debug)]
struct OneHot {
    places: HashMap<i64, usize>,
    count: usize,
    /// True if an unknown category is all 0s, rather than a failure.
    zeros: bool,
}

pub(super) fn one_hot_encoder(_: &ParsingContext, node: &NodeProto) -> Built {
    let found = Attributes(node);
    let categories = found.wholes("cats_int64s");
    ensure!(
        !categories.is_empty(),
        "OneHotEncoder encodes texts; encode categories as numbers before the model"
    );
    rowwise(OneHot {
        places: categories
            .iter()
            .enumerate()
            .map(|(at, category)| (*category, at))
            .collect(),
        count: categories.len(),
        zeros: found.whole("zeros").unwrap_or(1) != 0,
    })
}

impl Rows for OneHot {
    fn name(&self) -> &'static str {
        "OneHotEncoder"
    }

    fn shape(&self, width: usize) -> TractResult<Vec<usize>> {
        Ok(vec![width, self.count])
    }

    fn run(
        &self,
        rows: Numbers<'_>,
        _: usize,
        output: &mut [f32],
        _: &mut [i64],
    ) -> TractResult<()> {
        let mut outputs = output.chunks_exact_mut(self.count);
        // Numbers are cut to whole ones; what is not a number, or too large for one, is no category.
        let whole = |x: f64| (x.abs() < i64::MAX as f64).then_some(x as i64);
        let mut encode = |number: Option<i64>| {
            let (output, place) = (
                outputs.next(),
                number.and_then(|number| self.places.get(&number)),
            );
            if let Some((output, place)) = output.zip(place) {
                output[*place] = 1.0;
            }
            place.is_some()
        };
        let unknown = match rows {
            Numbers::Single(rows) => rows
                .iter()
                .filter(|x| !encode(whole(f64::from(**x))))
                .count(),
            Numbers::Double(rows) => rows.iter().filter(|x| !encode(whole(**x))).count(),
            Numbers::Whole(rows) => rows.iter().filter(|x| !encode(Some(**x))).count(),
        };
        ensure!(
            self.zeros || unknown == 0,
            "OneHotEncoder does not know {unknown} of the categories"
        );
        Ok(())
    }
}

/// Puts numbers in the place of numbers.
#[derive(Clone, Debug)]
struct LabelEncoder(Arc<Labels>);

#[derive(Debug)]
struct Labels {
    /// Keys as bits, and the places of their values.
    places: HashMap<u64, usize>,
    /// True if the keys are whole numbers.
    whole: bool,
    /// The values, after the one for what is no key.
    values: Values,
}

#[derive(Debug)]
enum Values {
    Floats(Vec<f32>),
    Wholes(Vec<i64>),
}

/// The bits of a floating point number as a key: both zeros are one, and so is all that is not a number.
fn key(number: f64) -> u64 {
    if number.is_nan() {
        f64::NAN.to_bits()
    } else {
        (number + 0.0).to_bits()
    }
}

pub(super) fn label_encoder(context: &ParsingContext, node: &NodeProto) -> Built {
    const TEXTS: &str = "encode categories as numbers before the model";
    let found = Attributes(node);
    let (wholes, floats) = (found.wholes("keys_int64s"), found.numbers("keys_floats"));
    let mut keys: Vec<u64> = wholes.iter().map(|key| *key as u64).collect();
    keys.extend(floats.iter().map(|number| key(f64::from(*number))));
    let (whole_values, float_values) = (
        found.wholes("values_int64s"),
        found.numbers("values_floats"),
    );
    let values = match (whole_values, float_values) {
        ([], []) => bail!("LabelEncoder has no numeric values; {TEXTS}"),
        ([], values) => {
            // As onnxruntime has it, which takes it from the standard.
            let default = found.number("default_float").unwrap_or(-0.0);
            Values::Floats(
                std::iter::once(default)
                    .chain(values.iter().copied())
                    .collect(),
            )
        }
        (values, _) => {
            let default = found.whole("default_int64").unwrap_or(-1);
            Values::Wholes(
                std::iter::once(default)
                    .chain(values.iter().copied())
                    .collect(),
            )
        }
    };
    ensure!(
        !keys.is_empty(),
        "LabelEncoder has no numeric keys; {TEXTS}"
    );
    let count = whole_values.len().max(float_values.len());
    ensure!(
        keys.len() == count,
        "LabelEncoder's keys and values differ in number"
    );
    let mut places = HashMap::new();
    for (at, key) in keys.into_iter().enumerate() {
        places.entry(key).or_insert(at + 1);
    }
    if ml_version(context) < 4 && wholes.is_empty() {
        // Before, not a number was compared like a number, which it equals never.
        places.remove(&f64::NAN.to_bits());
    }
    let labels = LabelEncoder(Arc::new(Labels {
        places,
        whole: !wholes.is_empty(),
        values,
    }));
    Ok((ElementWiseOp(Box::new(labels), None).into_hir(), Vec::new()))
}

impl PartialEq for LabelEncoder {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for LabelEncoder {}

impl ElementWiseMiniOp for LabelEncoder {
    fn name(&self) -> String {
        "LabelEncoder".to_owned()
    }

    fn output_type(&self, _: DatumType) -> Option<DatumType> {
        Some(match self.0.values {
            Values::Floats(_) => f32::datum_type(),
            Values::Wholes(_) => i64::datum_type(),
        })
    }

    fn eval_out_of_place(&self, tensor: &Tensor, _: Option<DatumType>) -> TractResult<Tensor> {
        let kind = tensor.datum_type();
        ensure!(
            (kind.is_integer() || kind == TDim::datum_type()) == self.0.whole,
            "LabelEncoder's keys are of another type than its input"
        );
        let keys: Vec<u64> = if self.0.whole {
            let numbers = tensor.cast_to::<i64>()?;
            numbers
                .try_as_plain_ram()?
                .as_slice::<i64>()?
                .iter()
                .map(|x| *x as u64)
                .collect()
        } else {
            let numbers = tensor.cast_to::<f64>()?;
            numbers
                .try_as_plain_ram()?
                .as_slice::<f64>()?
                .iter()
                .map(|x| key(*x))
                .collect()
        };
        let places = keys
            .iter()
            .map(|key| self.0.places.get(key).copied().unwrap_or(0));
        match &self.0.values {
            Values::Floats(values) => {
                let found: Vec<f32> = places.map(|at| values[at]).collect();
                Tensor::from_shape(tensor.shape(), &found)
            }
            Values::Wholes(values) => {
                let found: Vec<i64> = places.map(|at| values[at]).collect();
                Tensor::from_shape(tensor.shape(), &found)
            }
        }
    }
}
