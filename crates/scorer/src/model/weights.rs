//! Weights that a graph keeps in files beside it: which files, and their bytes taken into the graph.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use anyhow::{Context, ensure};
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{AttributeProto, GraphProto, TensorProto};

/// The files that the graph's tensors lie in, as paths relative to the model's folder.
///
/// # Errors
///
/// A tensor that names no file, or one outside of the folder.
pub(super) fn files(graph: &mut GraphProto) -> anyhow::Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    external(graph, &mut |tensor| {
        let file = entry(tensor, "location").unwrap_or_default();
        let inside = Path::new(file)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        ensure!(
            inside && !file.is_empty(),
            "tensor {:?} lies in {file:?}, which is no file beside the model",
            tensor.name
        );
        files.insert(file.to_owned());
        Ok(())
    })?;
    Ok(files)
}

/// Takes the tensors' bytes out of the contents of their files, `budget` bytes at most.
///
/// # Errors
///
/// A file is shorter than its tensors say, or the tensors take more than the budget.
pub(super) fn take_in(
    graph: &mut GraphProto,
    files: &BTreeMap<String, Vec<u8>>,
    mut budget: usize,
) -> anyhow::Result<()> {
    external(graph, &mut |tensor| {
        let name = &tensor.name;
        let file = entry(tensor, "location").unwrap_or_default();
        let bytes = files.get(file).map(Vec::as_slice).unwrap_or_default();
        let number = |key| {
            let number = entry(tensor, key).map(str::parse::<usize>);
            number
                .transpose()
                .with_context(|| format!("tensor {name:?}: its {key} in {file:?} is no number"))
        };
        let start = number("offset")?.unwrap_or(0);
        let length = number("length")?.unwrap_or(bytes.len().saturating_sub(start));
        let end = start.saturating_add(length);
        let slice = bytes.get(start..end).with_context(|| {
            format!(
                "{file:?} is not whole, or another model's: tensor {name:?} takes its bytes {start} to {end}, it \
                 has {}",
                bytes.len()
            )
        })?;
        budget = budget
            .checked_sub(length)
            .context("its tensors take more memory than a model may")?;
        tensor.raw_data = slice.to_vec();
        tensor.external_data.clear();
        tensor.data_location = None;
        Ok(())
    })
}

fn entry<'t>(tensor: &'t TensorProto, key: &str) -> Option<&'t str> {
    let found = tensor.external_data.iter().find(|found| found.key == key);
    found.map(|found| found.value.as_str())
}

type Visit<'v> = &'v mut dyn FnMut(&mut TensorProto) -> anyhow::Result<()>;

/// Visits the tensors that lie in files.
fn external(graph: &mut GraphProto, visit: Visit<'_>) -> anyhow::Result<()> {
    tensors(graph, &mut |tensor| {
        if tensor.data_location == Some(DataLocation::External.into()) {
            visit(tensor)?;
        }
        Ok(())
    })
}

/// Visits all constant tensors: initializers and attributes, those of nested graphs too.
pub(super) fn tensors(graph: &mut GraphProto, visit: Visit<'_>) -> anyhow::Result<()> {
    graph.initializer.iter_mut().try_for_each(&mut *visit)?;
    let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    for AttributeProto {
        t,
        tensors: list,
        g,
        graphs,
        ..
    } in attributes
    {
        t.iter_mut().chain(list).try_for_each(&mut *visit)?;
        for graph in g.iter_mut().chain(graphs) {
            tensors(graph, visit)?;
        }
    }
    Ok(())
}
