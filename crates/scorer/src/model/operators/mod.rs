//! The operators that models may use: tract's, and over them our own.

mod attributes;
mod cast;
mod clip;
mod columns;
mod encode;
mod function;
mod functions;
mod in_range;
mod layer_norm;
mod linear;
mod log_softmax;
mod look_up;
mod one_hot;
mod over;
mod pair;
mod post;
mod power;
mod quantize;
mod reduce;
mod replace;
mod rowwise;
mod scale;
mod svm;
mod tree_classifier;
mod tree_ensemble;
mod tree_regressor;

use std::collections::BTreeMap;

use tract_onnx::Onnx;
use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::{GraphProto, ModelProto};
use tract_onnx::tract_hir::infer::rules::InferenceResult;
use tract_onnx::tract_hir::internal::{Solver, TensorProxy, check_input_arity, check_output_arity};

/// The export that works instead of an operator that is not there.
const ADVICE: [(&str, &str); 9] = [
    ("StringNormalizer", TEXTS),
    ("TfIdfVectorizer", TEXTS),
    ("SVMClassifier", KERNELS),
    ("Scan", NEIGHBOURS),
    ("TopK", NEIGHBOURS),
    ("Hardmax", ARGMAX),
    ("GRU", RECURRENT),
    ("LSTM", RECURRENT),
    ("RNN", RECURRENT),
];

/// The export that works with most exporters.
const EXPORT: &str = "export it with target_opset={\"\": 17, \"ai.onnx.ml\": 3} (scikit-learn, LightGBM, XGBoost) or \
     opset_version=17 (PyTorch), with float inputs and an open first dimension";
const ARGMAX: &str = "export the scores before it instead";
const RECURRENT: &str = "networks with a state are not supported; export a feed-forward network over features of \
     the history instead";
const TEXTS: &str = "encode texts as numbers before the model";
const KERNELS: &str = "train a linear model, a tree ensemble or a network instead";
const NEIGHBOURS: &str = "nearest neighbours and other models that compare a row with the training \
     data are not supported; train a tree ensemble or a network instead";

/// Operators that tract has, and with which models score otherwise than in onnxruntime: the state of
/// recurrent ones passes from row to row.
const WRONG: [&str; 6] = ["GRU", "Hardmax", "LSTM", "RNN", "Scan", "TopK"];

/// The rules of an operator whose output has the type and shape of its first input.
fn keeps_type_and_shape<'r, 'p: 'r>(
    solver: &mut Solver<'r>,
    inputs: &'p [TensorProxy],
    outputs: &'p [TensorProxy],
    arity: usize,
) -> InferenceResult {
    check_input_arity(inputs, arity)?;
    check_output_arity(outputs, 1)?;
    solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
    solver.equals(&inputs[0].shape, &outputs[0].shape)
}

/// The operators that a model is run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operators {
    /// tract's, and over them our own.
    Ours,
    /// tract's alone, to compare with.
    Tracts,
}

impl Operators {
    /// tract's ONNX reader with these operators.
    pub(super) fn reader(self) -> Onnx {
        let mut onnx = tract_onnx::onnx().with_ignore_output_shapes(true);
        if self == Operators::Ours {
            register(&mut onnx.op_register);
        }
        onnx
    }
}

fn register(register: &mut OnnxOpRegister) {
    functions::register(register);
    look_up::register(register);
    pair::register(register);
    reduce::register(register);
    register.insert("Binarizer", replace::binarizer);
    register.insert("Cast", cast::cast);
    register.insert("CastLike", cast::cast_like);
    register.insert("Clip", clip::clip);
    register.insert("FeatureVectorizer", columns::feature_vectorizer);
    register.insert("Imputer", replace::imputer);
    register.insert("LabelEncoder", encode::label_encoder);
    register.insert("LayerNormalization", layer_norm::layer_normalization);
    register.insert("LinearClassifier", linear::classifier);
    register.insert("LinearRegressor", linear::regressor);
    register.insert("LogSoftmax", log_softmax::log_softmax);
    register.insert("Normalizer", scale::normalizer);
    register.insert("OneHot", one_hot::one_hot);
    register.insert("OneHotEncoder", encode::one_hot_encoder);
    register.insert("Pow", power::pow);
    register.insert("QuantizeLinear", quantize::quantize_linear);
    register.insert("SVMRegressor", svm::regressor);
    register.insert("Scaler", scale::scaler);
    register.insert("TreeEnsemble", tree_regressor::ensemble);
    register.insert("TreeEnsembleClassifier", tree_classifier::classifier);
    register.insert("TreeEnsembleRegressor", tree_regressor::regressor);
}

/// The operators of `model` that are not there, each with its count and what to do about it.
pub(super) fn missing(onnx: &Onnx, model: &ModelProto) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    if let Some(graph) = &model.graph {
        count(onnx, graph, &mut counts);
    }
    counts
        .into_iter()
        .map(|(name, count)| format!("{name} ({count}x): {}", advice(name)))
        .collect()
}

/// The remedy for an operator that cannot be run.
pub(super) fn advice(name: &str) -> &'static str {
    let found = ADVICE.iter().find(|(other, _)| *other == name);
    found.map_or(EXPORT, |(_, advice)| advice)
}

/// True if an operator is one of our own.
pub(super) fn are_ours(name: &str) -> bool {
    let mut ours = OnnxOpRegister::default();
    register(&mut ours);
    ours.0.contains_key(name)
}

fn count<'m>(onnx: &Onnx, graph: &'m GraphProto, counts: &mut BTreeMap<&'m str, usize>) {
    for node in &graph.node {
        let name = node.op_type.as_str();
        if !onnx.op_register.0.contains_key(name) || WRONG.contains(&name) {
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
