//! Makes an exported ONNX graph one that can be run in batches: pure surgery on the decoded file.
//!
//! Exporters end a classifier with a `ZipMap` (a list of maps, for people), add a branch for the
//! label, fix or leave out the batch dimension. Nodes that the score needs are kept, the rest goes.

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::{Context, ensure};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto, type_proto};

use super::anatomy::classes;
use super::axes;
use super::graph_inputs::{GraphInput, element_type, take_inputs};
use super::half;
use super::sizes;

/// The facts about a prepared graph.
pub(super) struct Prepared {
    pub(super) inputs: Vec<GraphInput>,
    /// The output's name.
    pub(super) output: String,
    /// The lists of classes that its nodes name.
    pub(super) classes: Vec<Vec<String>>,
}

/// Cuts the model down to what the output `wanted` needs (by default the first floating point
/// output).
pub(super) fn prepare(model: &mut ModelProto, wanted: Option<&str>) -> anyhow::Result<Prepared> {
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
    let classes = classes(graph);
    remove_zipmaps(graph);
    let output = choose_output(graph, wanted)?;
    let needed = keep_ancestors(graph, &output);
    ensure!(
        !graph.node.is_empty(),
        "nothing in the graph computes the output {output:?}"
    );
    refuse_foreign_domains(graph)?;
    axes::check(graph)?;
    sizes::check(graph)?;
    let inputs = take_inputs(graph, &needed)?;
    half::widen(graph, &output)?;
    graph.output = vec![ValueInfoProto {
        name: output.clone(),
        ..ValueInfoProto::default()
    }];
    // Shapes noted by the exporter may name a batch of 1.
    graph.value_info.clear();
    Ok(Prepared {
        inputs,
        output,
        classes,
    })
}

/// Puts the nodes after those that they depend on, in whatever order the file has them; else their order stays.
fn sort(graph: &mut GraphProto) -> anyhow::Result<()> {
    let mut makers: HashMap<String, usize> = HashMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        let named = node.output.iter().filter(|name| !name.is_empty());
        makers.extend(named.map(|name| (name.clone(), at)));
    }
    let mut waits_for = vec![0; graph.node.len()];
    let mut users = vec![Vec::new(); graph.node.len()];
    for (at, node) in graph.node.iter().enumerate() {
        let mut read = HashSet::new();
        needs(node, &mut read);
        for maker in read.iter().filter_map(|name| makers.get(name)) {
            users[*maker].push(at);
            waits_for[at] += 1;
        }
    }
    let mut nodes: Vec<Option<NodeProto>> = graph.node.drain(..).map(Some).collect();
    let free = (0..nodes.len()).filter(|at| waits_for[*at] == 0);
    let mut ready: BTreeSet<usize> = free.collect();
    while let Some(at) = ready.pop_first() {
        graph.node.extend(nodes[at].take());
        for user in &users[at] {
            waits_for[*user] -= 1;
            if waits_for[*user] == 0 {
                ready.insert(*user);
            }
        }
    }
    ensure!(
        graph.node.len() == nodes.len(),
        "the graph's nodes depend on each other in a circle"
    );
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

#[cfg(test)]
mod tests {
    use super::*;

    fn node(at: usize, from: usize) -> NodeProto {
        NodeProto {
            op_type: "Identity".to_owned(),
            input: vec![format!("n{from}")],
            output: vec![format!("n{at}")],
            ..NodeProto::default()
        }
    }

    #[test]
    fn a_long_chain_in_reversed_order_is_sorted_at_once() {
        // Going over the rest again and again would take minutes.
        const NODES: usize = 100_000;
        let mut graph = GraphProto {
            node: (1..=NODES).rev().map(|at| node(at, at - 1)).collect(),
            ..GraphProto::default()
        };
        sort(&mut graph).unwrap();
        let sorted = (1..).zip(&graph.node);
        assert!(
            sorted
                .into_iter()
                .all(|(at, found)| *found == node(at, at - 1))
        );
        graph.node.push(node(0, NODES));
        assert!(sort(&mut graph).is_err(), "a circle");
    }
}
