//! Numbers of half precision inside a graph, made single ones: onnxruntime computes so on a CPU, and rounds nothing
//! but the weights.

use anyhow::ensure;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};
use tract_onnx::prelude::f16;

use super::graph_inputs::element_type;
use super::weights::tensors;

/// Attributes that name a type, by the operators that have them.
const TYPES: [(&str, &str); 2] = [("Cast", "to"), ("EyeLike", "dtype")];

/// Widens all weights, and the nodes that make such numbers.
///
/// # Errors
///
/// `output` is of half precision itself, and so rounded by onnxruntime. Or a weight's bytes are not whole.
pub(super) fn widen(graph: &mut GraphProto, output: &str) -> anyhow::Result<()> {
    let mut outputs = graph.output.iter().filter(|found| found.name == output);
    ensure!(
        outputs.all(|found| element_type(found) != Some(DataType::Float16)),
        "output {output:?} is of half precision; export the model with float inputs and outputs (keep_io_types=True)"
    );
    tensors(graph, &mut |tensor| {
        if tensor.data_type == DataType::Float16 as i32 {
            widen_tensor(tensor)?;
        }
        Ok(())
    })?;
    widen_nodes(&mut graph.node);
    Ok(())
}

fn widen_tensor(tensor: &mut TensorProto) -> anyhow::Result<()> {
    let bits: Vec<u16> = if tensor.raw_data.is_empty() {
        tensor
            .int32_data
            .drain(..)
            .map(|bits| bits as u16)
            .collect()
    } else {
        let (pairs, rest) = tensor.raw_data.as_chunks::<2>();
        ensure!(
            rest.is_empty(),
            "tensor {:?} ends within a number",
            tensor.name
        );
        pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
    };
    let numbers = bits.into_iter().map(|bits| f16::from_bits(bits).to_f32());
    tensor.raw_data = numbers.flat_map(f32::to_le_bytes).collect();
    tensor.data_type = DataType::Float.into();
    Ok(())
}

fn widen_nodes(nodes: &mut [NodeProto]) {
    for node in nodes {
        for attribute in &mut node.attribute {
            let named = TYPES.contains(&(node.op_type.as_str(), attribute.name.as_str()));
            if named && attribute.i == DataType::Float16 as i64 {
                attribute.i = DataType::Float as i64;
            }
            for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                widen_nodes(&mut graph.node);
            }
        }
    }
}
