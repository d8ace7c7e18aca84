//! Finds parts of a graph that may make a row's score depend on the rows beside it. Pure: names reasons, proves nothing.

use tract_onnx::pb::{GraphProto, NodeProto};

use super::sizes::whole_numbers;

/// Operators, beside those called `Reduce...`, that go along the axes that they are told.
const ALONG: [&str; 6] = [
    "ArgMax",
    "ArgMin",
    "CumSum",
    "LogSoftmax",
    "MeanVarianceNormalization",
    "Softmax",
];

/// The reasons that the graph gives for scores that depend on other rows, each with a remedy.
pub(super) fn reasons(graph: &GraphProto) -> Vec<String> {
    let mut reasons = Vec::new();
    for node in &graph.node {
        let (name, op) = (&node.name, node.op_type.as_str());
        if op.starts_with("DynamicQuantize") {
            reasons.push(format!(
                "dynamic quantization takes its scale from the whole batch ({op}); quantize statically, or not at all"
            ));
        } else if op == "BatchNormalization" && whole(node, "training_mode") == Some(1) {
            reasons.push(format!(
                "{op} {name:?} is in training mode; export the model in evaluation mode"
            ));
        } else if (op.starts_with("Reduce") || ALONG.contains(&op))
            && axes(graph, node).contains(&0)
        {
            reasons.push(format!(
                "{op} {name:?} goes over the batch; export it with the axis of the columns"
            ));
        }
    }
    reasons.dedup();
    reasons
}

fn whole(node: &NodeProto, name: &str) -> Option<i64> {
    let found = node.attribute.iter().find(|found| found.name == name)?;
    Some(found.i)
}

/// The axes that a node names; 0, the batch, stands for all of them.
fn axes(graph: &GraphProto, node: &NodeProto) -> Vec<i64> {
    let named = |name| node.attribute.iter().find(|found| found.name == name);
    if let Some(axis) = named("axis") {
        return vec![axis.i];
    }
    if let Some(axes) = named("axes") {
        return axes.ints.clone();
    }
    // Since operator sets 13 and 18 an input names the axes.
    let constant = node.input.get(1).and_then(|name| {
        let constants = graph.initializer.iter();
        constants
            .into_iter()
            .find(|constant| constant.name == *name)
    });
    match constant {
        Some(axes) => whole_numbers(axes),
        None if node.op_type == "Softmax" || node.op_type == "LogSoftmax" => vec![-1],
        None if node.op_type == "MeanVarianceNormalization" => vec![0, 2, 3],
        None => vec![0],
    }
}
