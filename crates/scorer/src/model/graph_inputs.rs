//! The inputs of an ONNX graph: which there are, of what type and shape.

use std::collections::HashSet;

use anyhow::{bail, ensure};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{GraphProto, TensorShapeProto, ValueInfoProto, type_proto};

/// The name that the batch dimension gets.
const BATCH: &str = "N";

/// An input of the graph, initializers apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GraphInput {
    pub(super) name: String,
    pub(super) kind: DataType,
    /// Dimensions as exported, `None` where open; `None` altogether when the rank is.
    pub(super) dims: Option<Vec<Option<i64>>>,
    /// True if the score depends on it.
    pub(super) used: bool,
}

/// Lists the inputs, and drops those, as well as the constants, that are not needed.
pub(super) fn take_inputs(
    graph: &mut GraphProto,
    needed: &HashSet<String>,
) -> anyhow::Result<Vec<GraphInput>> {
    // Old files list the constants among the inputs too.
    let constants: HashSet<&str> = graph.initializer.iter().map(|c| c.name.as_str()).collect();
    let mut inputs = Vec::new();
    for input in graph
        .input
        .iter()
        .filter(|input| !constants.contains(input.name.as_str()))
    {
        let name = input.name.clone();
        let Some((kind, tensor)) = element_type(input).zip(tensor_type(input)) else {
            bail!("input {name:?} is no tensor of a type that is known here");
        };
        let dims = tensor.shape.as_ref().map(|shape| {
            let dims = shape.dim.iter().map(|dim| match dim.value {
                Some(dimension::Value::DimValue(size)) if size >= 0 => Some(size),
                _ => None,
            });
            dims.collect()
        });
        let used = needed.contains(&name);
        inputs.push(GraphInput {
            name,
            kind,
            dims,
            used,
        });
    }
    ensure!(!inputs.is_empty(), "the model has no input");
    graph.input.retain(|input| needed.contains(&input.name));
    graph
        .initializer
        .retain(|constant| needed.contains(&constant.name));
    Ok(inputs)
}

/// Gives an input its shape. Without `rows` any number of them; without `width` a vector.
pub(super) fn set_shape(
    graph: &mut GraphProto,
    input: &str,
    rows: Option<i64>,
    width: Option<usize>,
) {
    let any = dimension::Value::DimParam(BATCH.to_owned());
    let rows = rows.map_or(any, dimension::Value::DimValue);
    let columns = width.map(|width| dimension::Value::DimValue(width as i64));
    let dim = [Some(rows), columns].into_iter().flatten();
    let dim = dim
        .map(|value| Dimension {
            value: Some(value),
            ..Dimension::default()
        })
        .collect();
    for found in graph.input.iter_mut().filter(|found| found.name == input) {
        let value = found.r#type.as_mut().and_then(|kind| kind.value.as_mut());
        if let Some(type_proto::Value::TensorType(tensor)) = value {
            tensor.shape = Some(TensorShapeProto { dim });
            return;
        }
    }
}

fn tensor_type(value: &ValueInfoProto) -> Option<&type_proto::Tensor> {
    let type_proto::Value::TensorType(tensor) = value.r#type.as_ref()?.value.as_ref()?;
    Some(tensor)
}

/// The type of a tensor's numbers, if it is a tensor.
pub(super) fn element_type(value: &ValueInfoProto) -> Option<DataType> {
    DataType::try_from(tensor_type(value)?.elem_type).ok()
}
