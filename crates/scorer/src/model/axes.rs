//! Refuses axes that no tensor has, before tract takes time and memory for each of the axes up to them. Pure.

use anyhow::ensure;
use tract_onnx::pb::{GraphProto, NodeProto};

use super::operators::advice;

/// More dimensions than a tensor of a model has.
const DIMENSIONS: i64 = 64;

/// Refuses a graph with a node that names such an axis.
///
/// # Errors
///
/// The first such node, with the axis.
pub(super) fn check(graph: &GraphProto) -> anyhow::Result<()> {
    for node in &graph.node {
        let strange = axes(node).find(|axis| !(-DIMENSIONS..DIMENSIONS).contains(axis));
        ensure!(
            strange.is_none(),
            "operator {} ({:?}): no tensor has an axis {}; {}",
            node.op_type,
            node.name,
            strange.unwrap_or_default(),
            advice(&node.op_type)
        );
    }
    Ok(())
}

fn axes(node: &NodeProto) -> impl Iterator<Item = i64> {
    let named = node.attribute.iter();
    let named = named.filter(|one| one.name == "axis" || one.name == "axes");
    named.flat_map(|one| one.ints.iter().copied().chain([one.i]))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use prost::Message;
    use tract_onnx::pb::ModelProto;

    use crate::model::Manifest;
    use crate::model::load::compile_file;

    #[test]
    fn an_axis_that_no_tensor_has_is_refused_by_name() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let bytes = fs::read(fixtures.join("torch_norms_gelu.onnx")).unwrap();
        for axis in [-15_000, i64::MIN, i64::MAX, -1] {
            let mut model = ModelProto::decode(&bytes[..]).unwrap();
            let nodes = model.graph.iter_mut().flat_map(|graph| &mut graph.node);
            let attributes = nodes.flat_map(|node| &mut node.attribute);
            let mut axes = attributes.filter(|one| one.name == "axis");
            axes.next().unwrap().i = axis;
            let compiled = compile_file(&model.encode_to_vec(), Manifest::default());
            let error = compiled.err().map(|error| format!("{error:#}"));
            match axis {
                -1 => assert_eq!(error, None),
                _ => {
                    let error = error.unwrap();
                    let named = format!("no tensor has an axis {axis}; export");
                    assert!(
                        error.contains("LayerNormalization") && error.contains(&named),
                        "{error}"
                    );
                }
            }
        }
    }
}
