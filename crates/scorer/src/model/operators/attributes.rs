//! A node's attributes by name.

use tract_onnx::data_resolver::MmapDataResolver;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{AttributeProto, NodeProto};
use tract_onnx::tensor::load_tensor;
use tract_onnx::tract_hir::internal::*;

use super::post::PostTransform;

/// The result of an operator's builder, as tract's reader takes it.
pub(super) type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// A node's attributes.
pub(super) struct Attributes<'a>(pub(super) &'a NodeProto);

impl<'a> Attributes<'a> {
    fn get(&self, name: &str) -> Option<&'a AttributeProto> {
        let mut all = self.0.attribute.iter();
        all.find(|attribute| attribute.name == name)
    }

    /// A whole number.
    pub(super) fn whole(&self, name: &str) -> Option<i64> {
        self.get(name).map(|found| found.i)
    }

    /// A number.
    pub(super) fn number(&self, name: &str) -> Option<f32> {
        self.get(name).map(|found| found.f)
    }

    /// A text, of which nothing but whether it is a known one counts.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        let found = self.get(name)?;
        Some(std::str::from_utf8(&found.s).unwrap_or("?"))
    }

    /// Whole numbers, none if the attribute is absent.
    pub(super) fn wholes(&self, name: &str) -> &'a [i64] {
        self.get(name).map_or(&[], |found| &found.ints)
    }

    /// Numbers, none if the attribute is absent.
    pub(super) fn numbers(&self, name: &str) -> &'a [f32] {
        self.get(name).map_or(&[], |found| &found.floats)
    }

    /// Texts, none if the attribute is absent.
    pub(super) fn texts(&self, name: &str) -> Vec<&'a str> {
        let texts = self.get(name).map_or(&[][..], |found| &found.strings);
        let texts = texts.iter();
        texts
            .map(|text| std::str::from_utf8(text).unwrap_or("?"))
            .collect()
    }

    /// A tensor.
    pub(super) fn tensor(&self, name: &str) -> TractResult<Option<Tensor>> {
        let found = self.get(name).and_then(|found| found.t.as_ref());
        found
            .map(|tensor| load_tensor(&MmapDataResolver, tensor, None))
            .transpose()
    }

    /// The numbers of a tensor, none if the attribute is absent.
    pub(super) fn tensor_numbers(&self, name: &str) -> TractResult<Vec<f64>> {
        let Some(tensor) = self.tensor(name)? else {
            return Ok(Vec::new());
        };
        let numbers = tensor.cast_to::<f64>()?;
        Ok(numbers.try_as_plain_ram()?.as_slice::<f64>()?.to_vec())
    }

    /// Numbers of an attribute or, in double precision, of its variant as a tensor.
    pub(super) fn doubles(&self, name: &str) -> TractResult<Vec<f64>> {
        let tensor = self.tensor_numbers(&format!("{name}_as_tensor"))?;
        if !tensor.is_empty() {
            return Ok(tensor);
        }
        Ok(self.numbers(name).iter().copied().map(f64::from).collect())
    }

    /// The classes, under the name that the operator has for whole ones. Texts are numbered, since
    /// nothing but their number is of use here.
    pub(super) fn labels(&self, whole: &str) -> Vec<i64> {
        let texts = self.texts("classlabels_strings").len() as i64;
        match self.wholes(whole) {
            [] => (0..texts).collect(),
            found => found.to_vec(),
        }
    }

    /// The last step, from the scores.
    pub(super) fn post_transform(&self) -> TractResult<PostTransform> {
        let name = self.text("post_transform").unwrap_or("NONE");
        name.parse().map_err(TractError::msg)
    }
}

/// The version of ai.onnx.ml that the file is written in.
pub(super) fn ml_version(context: &ParsingContext) -> i64 {
    let mut sets = context.model.opset_import.iter();
    let found = sets.find(|set| set.domain == "ai.onnx.ml");
    found.map_or(1, |set| set.version)
}
