//! Which of the manifest's inputs goes into which tensor of the graph.
//!
//! Exporters make one tensor of all columns, or one tensor for each column, or a mixture.

use anyhow::{bail, ensure};
use tract_onnx::pb::tensor_proto::DataType;

use super::graph_inputs::GraphInput;

/// One tensor that the graph is fed with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The row's columns that it holds, in its order.
    pub(super) columns: Vec<usize>,
    /// Whether its shape is `[rows]`, without a dimension for the columns.
    pub(super) vector: bool,
    /// Whether the score depends on it; else it is left out.
    pub(super) used: bool,
}

/// The types of number that a tensor may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F32,
    F64,
    I64,
    I32,
    Bool,
}

/// Distributes the manifest's inputs `names` over the graph's tensors.
pub(super) fn assign(tensors: &[GraphInput], names: &[&str]) -> anyhow::Result<Vec<Slot>> {
    let mut slots = Vec::new();
    let mut next = 0;
    for tensor in tensors {
        let alone = tensors.len() == 1;
        let (width, vector) = width(tensor, alone.then_some(names.len()))?;
        slots.push(Slot {
            name: tensor.name.clone(),
            kind: kind(tensor)?,
            columns: (next..next + width).collect(),
            vector,
            used: tensor.used,
        });
        next += width;
    }
    ensure!(
        next == names.len(),
        "the model takes {next} columns ({}), the manifest lists {} inputs ({})",
        tensors
            .iter()
            .map(|tensor| tensor.name.as_str())
            .collect::<Vec<_>>()
            .join(", "),
        names.len(),
        names.join(", ")
    );
    // Tensors of one column that bear the inputs' names say themselves what they hold.
    let column = |slot: &Slot| names.iter().position(|name| *name == slot.name);
    let named: Option<Vec<usize>> = slots.iter().map(column).collect();
    if let Some(named) = named
        && slots.len() == names.len()
    {
        for (slot, column) in slots.iter_mut().zip(named) {
            slot.columns = vec![column];
        }
    }
    Ok(slots)
}

/// How many columns a tensor has, and whether it is a vector. `alone`: the width of an only tensor
/// that leaves it open.
fn width(tensor: &GraphInput, alone: Option<usize>) -> anyhow::Result<(usize, bool)> {
    let name = &tensor.name;
    match tensor.dims.as_deref() {
        None => Ok((alone.unwrap_or(1), false)),
        Some([_]) => Ok((1, true)),
        Some([_, columns]) => match (columns, alone) {
            (Some(columns), _) => Ok((usize::try_from(*columns)?, false)),
            (None, Some(columns)) => Ok((columns, false)),
            (None, None) => bail!("input {name:?} does not say how many columns it has"),
        },
        Some(dims) => bail!(
            "input {name:?} has {} dimensions; rows and columns are expected",
            dims.len()
        ),
    }
}

fn kind(tensor: &GraphInput) -> anyhow::Result<Kind> {
    Ok(match tensor.kind {
        DataType::Float => Kind::F32,
        DataType::Double => Kind::F64,
        DataType::Int64 => Kind::I64,
        DataType::Int32 => Kind::I32,
        DataType::Bool => Kind::Bool,
        DataType::String => bail!(
            "input {:?} takes texts, of which a transaction's inputs have none; encode categories \
             as numbers before the model",
            tensor.name
        ),
        other => bail!(
            "input {:?} takes {other:?}; export it with float inputs",
            tensor.name
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, dims: &[Option<i64>]) -> GraphInput {
        let dims = Some(dims.to_vec());
        GraphInput {
            name: name.to_owned(),
            kind: DataType::Float,
            dims,
            used: true,
        }
    }

    fn columns(tensors: &[GraphInput], names: &[&str]) -> Result<Vec<Vec<usize>>, String> {
        let slots = assign(tensors, names).map_err(|error| error.to_string())?;
        Ok(slots.into_iter().map(|slot| slot.columns).collect())
    }

    #[test]
    fn columns_follow_names_or_else_the_order() {
        let names = ["a", "b", "c"];
        let matrix = |width| tensor("x", &[None, width]);
        assert_eq!(columns(&[matrix(Some(3))], &names), Ok(vec![vec![0, 1, 2]]));
        assert_eq!(columns(&[matrix(None)], &names), Ok(vec![vec![0, 1, 2]]));
        let single = |name| tensor(name, &[None, Some(1)]);
        let shuffled = [single("c"), tensor("a", &[None]), single("b")];
        assert_eq!(
            columns(&shuffled, &names),
            Ok(vec![vec![2], vec![0], vec![1]])
        );
        let strange = [single("x"), single("y"), single("z")];
        assert_eq!(
            columns(&strange, &names),
            Ok(vec![vec![0], vec![1], vec![2]])
        );
        let mixed = [tensor("x", &[None, Some(2)]), single("c")];
        assert_eq!(columns(&mixed, &names), Ok(vec![vec![0, 1], vec![2]]));
    }

    #[test]
    fn what_does_not_fit_the_manifest_is_refused() {
        let error = columns(&[tensor("x", &[None, Some(5)])], &["a", "b"]).unwrap_err();
        assert!(
            error.contains("5 columns") && error.contains("2 inputs"),
            "{error}"
        );
        let error = columns(&[tensor("x", &[None, None, None])], &["a"]).unwrap_err();
        assert!(error.contains("3 dimensions"), "{error}");
        let texts = GraphInput {
            kind: DataType::String,
            ..tensor("x", &[None])
        };
        assert!(columns(&[texts], &["a"]).unwrap_err().contains("texts"));
    }
}
