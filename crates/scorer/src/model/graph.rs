//! Makes an exported ONNX graph one that can be run in batches: pure surgery on the decoded file.
//!
//! Exporters end a classifier with a `ZipMap` (a list of maps, for people), add a branch for the
//! label, fix or leave out the batch dimension. What the score needs is kept, the rest goes.

use std::collections::HashSet;

use anyhow::{Context, ensure};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto, type_proto};

use super::graph_inputs::{GraphInput, element_type, take_inputs};

/// Cuts the model down to what the output `wanted` needs (by default the first floating point
/// output), and lists its inputs.
pub(super) fn prepare(
    model: &mut ModelProto,
    wanted: Option<&str>,
) -> anyhow::Result<Vec<GraphInput>> {
    let graph = model.graph.as_mut().context("the file holds no graph")?;
    let functions: Vec<&str> = model
        .functions
        .iter()
        .filter_map(|f| f.name.as_deref())
        .collect();
    ensure!(
        functions.is_empty(),
        "the model defines functions of its own ({}); export it with them inlined",
        functions.join(", ")
    );
    sort(graph)?;
    remove_zipmaps(graph);
    let output = choose_output(graph, wanted)?;
    let needed = keep_ancestors(graph, &output);
    ensure!(
        !graph.node.is_empty(),
        "nothing in the graph computes the output {output:?}"
    );
    refuse_foreign_domains(graph)?;
    let inputs = take_inputs(graph, &needed)?;
    graph.output = vec![ValueInfoProto {
        name: output,
        ..ValueInfoProto::default()
    }];
    // Shapes noted by the exporter may name a batch of 1.
    graph.value_info.clear();
    Ok(inputs)
}

/// Puts the nodes after those that they depend on, in whatever order the file has them.
fn sort(graph: &mut GraphProto) -> anyhow::Result<()> {
    let made: Vec<String> = graph
        .node
        .iter()
        .flat_map(|node| node.output.clone())
        .collect();
    let mut waiting: HashSet<String> = made.into_iter().filter(|name| !name.is_empty()).collect();
    let mut rest = std::mem::take(&mut graph.node);
    while !rest.is_empty() {
        let mut later = Vec::new();
        let before = rest.len();
        for node in rest {
            let mut read = HashSet::new();
            needs(&node, &mut read);
            if read.iter().any(|name| waiting.contains(name)) {
                later.push(node);
            } else {
                waiting.retain(|name| !node.output.contains(name));
                graph.node.push(node);
            }
        }
        ensure!(
            later.len() < before,
            "the graph's nodes depend on each other in a circle"
        );
        rest = later;
    }
    Ok(())
}

/// A `ZipMap` turns the matrix of probabilities into maps: its input becomes the output.
fn remove_zipmaps(graph: &mut GraphProto) {
    let (zipmaps, nodes): (Vec<_>, Vec<_>) = std::mem::take(&mut graph.node)
        .into_iter()
        .partition(|node| node.op_type == "ZipMap");
    graph.node = nodes;
    for zipmap in zipmaps {
        let (Some(matrix), Some(maps)) = (zipmap.input.first(), zipmap.output.first()) else {
            continue;
        };
        // The output keeps its name, so that a manifest may use either; the matrix is renamed to it.
        for node in &mut graph.node {
            let uses = node.input.iter_mut().chain(&mut node.output);
            uses.filter(|name| *name == matrix)
                .for_each(|name| name.clone_from(maps));
        }
        for output in &mut graph.output {
            if output.name == *matrix {
                output.name.clone_from(maps);
            }
            if output.name == *maps {
                output.r#type = Some(float_type());
            }
        }
    }
}

fn float_type() -> TypeProto {
    let tensor = type_proto::Tensor {
        elem_type: DataType::Float.into(),
        shape: None,
    };
    TypeProto {
        value: Some(type_proto::Value::TensorType(tensor)),
        ..Default::default()
    }
}

fn choose_output(graph: &GraphProto, wanted: Option<&str>) -> anyhow::Result<String> {
    let names: Vec<&str> = graph
        .output
        .iter()
        .map(|output| output.name.as_str())
        .collect();
    if let Some(wanted) = wanted {
        let inner = || {
            graph
                .node
                .iter()
                .any(|node| node.output.iter().any(|name| name == wanted))
        };
        ensure!(
            names.contains(&wanted) || inner(),
            "output.name: the model has no output {wanted:?}; it has {names:?}"
        );
        return Ok(wanted.to_owned());
    }
    let float = [DataType::Float, DataType::Double, DataType::Float16];
    let found = graph
        .output
        .iter()
        .find(|output| element_type(output).is_some_and(|kind| float.contains(&kind)));
    let found = found.with_context(|| {
        format!("the model has no floating point output among {names:?}; set output.name")
    })?;
    Ok(found.name.clone())
}

/// Drops the nodes that `output` does not depend on; returns the names that it does depend on.
fn keep_ancestors(graph: &mut GraphProto, output: &str) -> HashSet<String> {
    let mut needed: HashSet<String> = HashSet::from([output.to_owned()]);
    let mut kept = Vec::new();
    // The file lists nodes after those that they depend on.
    for node in std::mem::take(&mut graph.node).into_iter().rev() {
        if node.output.iter().any(|name| needed.contains(name)) {
            needs(&node, &mut needed);
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    needed
}

/// Adds everything that a node reads, in the graphs nested in it too.
fn needs(node: &NodeProto, needed: &mut HashSet<String>) {
    needed.extend(node.input.iter().filter(|name| !name.is_empty()).cloned());
    let nested = node
        .attribute
        .iter()
        .flat_map(|a| a.g.iter().chain(&a.graphs));
    for graph in nested {
        needed.extend(graph.output.iter().map(|output| output.name.clone()));
        for node in &graph.node {
            needs(node, needed);
        }
    }
}

fn refuse_foreign_domains(graph: &GraphProto) -> anyhow::Result<()> {
    let known = ["", "ai.onnx", "ai.onnx.ml"];
    let mut foreign: Vec<String> = graph
        .node
        .iter()
        .filter(|node| !known.contains(&node.domain.as_str()))
        .map(|node| format!("{}::{}", node.domain, node.op_type))
        .collect();
    foreign.sort();
    foreign.dedup();
    ensure!(
        foreign.is_empty(),
        "operators outside the ONNX standard: {}; export without the optimizations or \
         extensions that add them",
        foreign.join(", ")
    );
    Ok(())
}
