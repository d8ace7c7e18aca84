//! Describes a loaded model to people: the tensor of each input, the number that is the score, and its class.

use std::collections::HashSet;

use tract_onnx::pb::GraphProto;
use tract_onnx::tract_hir::internal::DimLike;

use super::layout::{Kind, Slot};
use super::load::Loaded;

/// The place of an input of the manifest in the graph.
#[derive(Clone, Debug)]
pub struct Place {
    /// The model's tensor.
    pub tensor: String,
    /// The column of the tensor, from 0, if it has several.
    pub column: Option<usize>,
    /// The input bears the tensor's name; else its place in the manifest decided.
    pub by_name: bool,
    /// The tensor takes whole numbers alone.
    pub whole: bool,
    /// The score depends on it.
    pub used: bool,
}

/// The number of the model's answer that becomes the score.
#[derive(Clone, Debug)]
pub struct Picked {
    /// The output's name.
    pub output: String,
    /// The element of its row, from 0.
    pub element: usize,
    /// Elements of its row.
    pub elements: usize,
    /// The classes in the order of the elements; empty where the graph names none.
    pub classes: Vec<String>,
}

impl Loaded {
    /// The places of the inputs, in the manifest's order.
    pub fn places(&self) -> Vec<Place> {
        let inputs = 0..self.manifest.inputs.len();
        let place = |input: usize| {
            let slot = self
                .slots
                .iter()
                .find(|slot| slot.columns.contains(&input))?;
            Some(place(slot, input))
        };
        inputs.filter_map(place).collect()
    }

    /// The number that is the score.
    ///
    /// # Errors
    ///
    /// The model's answer has no fixed number of elements.
    pub fn picked(&self) -> anyhow::Result<Picked> {
        let shape = &self.plan.model().output_fact(0)?.shape;
        let sizes = shape.iter().skip(1).map(|size| size.to_usize());
        let elements = sizes.product::<Result<usize, _>>()?;
        let named = |classes: &&Vec<String>| classes.len() == elements;
        Ok(Picked {
            output: self.output.clone(),
            element: self
                .manifest
                .output
                .index
                .unwrap_or(elements.saturating_sub(1)),
            elements,
            classes: self
                .classes
                .iter()
                .rev()
                .find(named)
                .cloned()
                .unwrap_or_default(),
        })
    }
}

fn place(slot: &Slot, input: usize) -> Place {
    let column = slot.columns.iter().position(|column| *column == input);
    Place {
        tensor: slot.name.clone(),
        column: column.filter(|_| slot.columns.len() > 1),
        by_name: slot.by_name,
        whole: matches!(slot.kind, Kind::I64 | Kind::I32),
        used: slot.used,
    }
}

/// The lists of classes that a graph's nodes name, in the nodes' order.
pub(super) fn classes(graph: &GraphProto) -> Vec<Vec<String>> {
    let mut met = HashSet::new();
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    let labels = attributes.filter(|found| found.name.starts_with("classlabels_"));
    let lists = labels.map(|found| {
        let texts = found
            .strings
            .iter()
            .map(|text| String::from_utf8_lossy(text).into_owned());
        texts.chain(found.ints.iter().map(i64::to_string)).collect()
    });
    lists
        .filter(|list: &Vec<String>| met.insert(list.clone()))
        .collect()
}
