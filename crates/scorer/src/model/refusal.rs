//! Words for what tract cannot run: the operator, its place and what to export instead, not tract's inner state.

use anyhow::anyhow;
use tract_onnx::pb::{GraphProto, NodeProto};

use super::operators::{advice, are_ours};

/// Context that marks an error as one of tract's.
pub(super) const INSIDE: &str = "in the graph";

/// Puts an error of tract's into words, and leaves others alone. The texts of our own operators are kept.
pub(super) fn explain(error: anyhow::Error, graph: &GraphProto) -> anyhow::Error {
    let texts: Vec<String> = error.chain().map(ToString::to_string).collect();
    let Some(place) = texts.iter().position(|text| text == INSIDE) else {
        return error;
    };
    tracing::debug!("{error:#}");
    let (outside, inside) = texts.split_at(place);
    let met = |node: &&NodeProto| inside.iter().any(|text| names(text, node));
    let what = match (graph.node.iter().find(met), inside.last()) {
        (Some(node), Some(cause)) => refusal(node, cause),
        _ => format!("its graph cannot be run; {}", advice("")),
    };
    let mut words = outside.to_vec();
    words.push(what);
    anyhow!(words.join(": "))
}

fn refusal(node: &NodeProto, cause: &str) -> String {
    let op = node.op_type.as_str();
    let name = match (node.name.as_str(), node.output.first()) {
        ("", Some(output)) => output,
        (name, _) => name,
    };
    // tract's solver speaks for our operators too.
    let own = are_ours(op) && !cause.contains("unify");
    let words = match own {
        true => cause,
        false => "it is not supported with these attributes, types or shapes",
    };
    // Our operators put a remedy behind a semicolon.
    let remedy = match own && cause.contains(';') {
        true => String::new(),
        false => format!("; {}", advice(op)),
    };
    format!("operator {op} ({name:?}): {words}{remedy}")
}

/// True if an error's text names the node: by its own name or its first output's, with more behind it where tract
/// made several nodes of it.
fn names(text: &str, node: &NodeProto) -> bool {
    let built = format!("Building node {} ({})", node.name, node.op_type);
    let mut ids = node.output.iter().take(1).chain([&node.name]);
    text == built
        || ids.any(|id| {
            !id.is_empty()
                && (text.contains(&format!("\"{id}\"")) || text.contains(&format!("\"{id}.")))
        })
}
