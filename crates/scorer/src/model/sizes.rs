//! Refuses tensors that a few bytes of a graph make larger than a model may be, before memory is taken for them. Pure.

use anyhow::ensure;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::operators::advice;

/// The most elements of a tensor: 512 MB of f32.
const ELEMENTS: u64 = 1 << 27;

/// Refuses a graph with a node that is told to make such a tensor.
///
/// # Errors
///
/// The first such node, with the number of elements.
pub(super) fn check(graph: &GraphProto) -> anyhow::Result<()> {
    for node in &graph.node {
        let elements = told(node).and_then(|name| numbers(graph, name));
        let elements = elements.map_or(1, |numbers| {
            let factors = numbers.iter().map(|number| number.unsigned_abs().max(1));
            factors.fold(1, u64::saturating_mul)
        });
        ensure!(
            elements <= ELEMENTS,
            "operator {} ({:?}) makes a tensor of at least {elements} elements, and at most {ELEMENTS} fit; {}",
            node.op_type,
            node.name,
            advice(&node.op_type)
        );
    }
    Ok(())
}

/// The name of the input that tells a node how large its output is.
fn told(node: &NodeProto) -> Option<&str> {
    let at = match node.op_type.as_str() {
        "ConstantOfShape" => 0,
        "Tile" | "Expand" => 1,
        _ => return None,
    };
    node.input.get(at).map(String::as_str)
}

/// The whole numbers of a constant.
fn numbers(graph: &GraphProto, name: &str) -> Option<Vec<i64>> {
    let given = graph.initializer.iter().find(|tensor| tensor.name == name);
    let node = || {
        let mut nodes = graph.node.iter();
        let constant = nodes.find(|node| node.output.iter().any(|output| output == name))?;
        constant.attribute.iter().find_map(|one| one.t.as_ref())
    };
    let tensor: &TensorProto = given.or_else(node)?;
    Some(whole_numbers(tensor))
}

/// The numbers of a tensor of int64.
pub(super) fn whole_numbers(tensor: &TensorProto) -> Vec<i64> {
    if !tensor.int64_data.is_empty() {
        return tensor.int64_data.clone();
    }
    let words = tensor.raw_data.as_chunks::<8>().0;
    words.iter().map(|word| i64::from_le_bytes(*word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(kind: &str, input: usize, sizes: &[i64], raw: bool) -> GraphProto {
        let mut tensor = TensorProto {
            name: "sizes".to_owned(),
            ..TensorProto::default()
        };
        match raw {
            true => tensor.raw_data = sizes.iter().flat_map(|size| size.to_le_bytes()).collect(),
            false => tensor.int64_data = sizes.to_vec(),
        }
        let mut inputs = vec!["x".to_owned(); input];
        inputs.push("sizes".to_owned());
        GraphProto {
            node: vec![NodeProto {
                op_type: kind.to_owned(),
                input: inputs,
                ..NodeProto::default()
            }],
            initializer: vec![tensor],
            ..GraphProto::default()
        }
    }

    #[test]
    fn a_tensor_larger_than_a_model_is_refused_by_name() {
        for raw in [true, false] {
            for (kind, input) in [("Tile", 1), ("Expand", 1), ("ConstantOfShape", 0)] {
                let check = |sizes: &[i64]| check(&graph(kind, input, sizes, raw));
                for large in [
                    &[1, 2_000_000_000][..],
                    &[20_000, 20_000],
                    &[i64::MAX, i64::MAX],
                ] {
                    let error = check(large).unwrap_err().to_string();
                    assert!(error.contains(kind), "{error}");
                }
                for small in [&[1, 8][..], &[-1, 67], &[], &[0, 1 << 27]] {
                    assert!(check(small).is_ok(), "{kind} {small:?}");
                }
            }
        }
        assert!(check(&graph("Reshape", 1, &[1 << 40], true)).is_ok());
    }
}
