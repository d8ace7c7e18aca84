//! The operators that models may use: tract's, and over them our own.

mod encode;
mod linear;
mod post;
mod reduce;
mod rowwise;
mod scale;
mod trees;

use std::collections::BTreeMap;

use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, ModelProto};

/// What to export instead of an operator that is not there.
const ADVICE: [(&str, &str); 4] = [
    (
        "StringNormalizer",
        "encode texts as numbers before the model",
    ),
    (
        "TfIdfVectorizer",
        "encode texts as numbers before the model",
    ),
    (
        "SVMClassifier",
        "train a linear model, a tree ensemble or a network instead",
    ),
    (
        "TopK",
        "nearest neighbours are not supported; train another kind of model",
    ),
];

/// tract's ONNX reader with all operators registered. Ours replace tract's of the same name.
pub(super) fn onnx() -> Onnx {
    let mut onnx = tract_onnx::onnx().with_ignore_output_shapes(true);
    let register = &mut onnx.op_register;
    register.insert("ArrayFeatureExtractor", encode::array_feature_extractor);
    register.insert("Binarizer", scale::binarizer);
    register.insert("Imputer", scale::imputer);
    register.insert("LabelEncoder", encode::label_encoder);
    register.insert("LinearClassifier", linear::classifier);
    register.insert("LinearRegressor", linear::regressor);
    register.insert("Normalizer", scale::normalizer);
    register.insert("OneHotEncoder", encode::one_hot_encoder);
    register.insert("ReduceLogSumExp", reduce::log_sum_exp);
    register.insert("Scaler", scale::scaler);
    register.insert("TreeEnsembleClassifier", trees::classifier);
    register.insert("TreeEnsembleRegressor", trees::regressor);
    onnx
}

/// The operators of `model` that are not there, each with its count and what to do about it.
pub(super) fn missing(onnx: &Onnx, model: &ModelProto) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    if let Some(graph) = &model.graph {
        count(onnx, graph, &mut counts);
    }
    counts
        .into_iter()
        .map(|(name, count)| {
            let advice = ADVICE.iter().find(|(other, _)| *other == name);
            let advice = advice.map_or("export the model without it", |(_, advice)| advice);
            format!("{name} ({count}x): {advice}")
        })
        .collect()
}

fn count<'m>(onnx: &Onnx, graph: &'m GraphProto, counts: &mut BTreeMap<&'m str, usize>) {
    for node in &graph.node {
        if !onnx.op_register.0.contains_key(&node.op_type) {
            *counts.entry(&node.op_type).or_default() += 1;
        }
        for nested in node
            .attribute
            .iter()
            .flat_map(|a| a.g.iter().chain(&a.graphs))
        {
            count(onnx, nested, counts);
        }
    }
}
