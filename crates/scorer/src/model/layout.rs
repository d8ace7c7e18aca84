//! Assigns the manifest's inputs to the tensors of the graph.
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
    /// True if it bears its column's name.
    pub(super) by_name: bool,
    /// True if its shape is `[rows]`, without a dimension for the columns.
    pub(super) vector: bool,
    /// True if the score depends on it; otherwise it is left out.
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

impl Kind {
    fn is_float(self) -> bool {
        matches!(self, Kind::F32 | Kind::F64)
    }

    /// True if such a tensor holds a number as it is. One of floating point holds any, one of truth values any
    /// but a missing one.
    pub(super) fn holds(self, number: f64) -> bool {
        let whole = |least: f64, end: f64| number.fract() == 0.0 && least <= number && number < end;
        match self {
            Kind::F32 | Kind::F64 => true,
            Kind::I64 => whole(-WHOLE_64, WHOLE_64),
            Kind::I32 => whole(-WHOLE_32, WHOLE_32),
            Kind::Bool => !number.is_nan(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Kind::F32 | Kind::F64 => "numbers",
            Kind::I64 => "whole numbers of 64 bits",
            Kind::I32 => "whole numbers of 32 bits",
            Kind::Bool => "truth values",
        }
    }
}

const WHOLE_64: f64 = (1u64 << 63) as f64;

const WHOLE_32: f64 = (1u64 << 31) as f64;

/// The columns that do not hold any number, and what they hold.
pub(super) fn particular(slots: &[Slot]) -> Vec<(usize, Kind)> {
    let particular = slots
        .iter()
        .filter(|slot| slot.used && !slot.kind.is_float());
    let columns =
        particular.flat_map(|slot| slot.columns.iter().map(|column| (*column, slot.kind)));
    columns.collect()
}

/// The first number of a row that its column does not hold, in words that follow the column's name.
pub(super) fn unfit(particular: &[(usize, Kind)], row: &[f64]) -> Option<(usize, String)> {
    let mut found = particular.iter();
    let (column, kind) = found.find(|(column, kind)| !kind.holds(row[*column]))?;
    let words = format!(
        "is {}, where the model takes {}",
        row[*column],
        kind.words()
    );
    Some((*column, words))
}

/// Distributes the manifest's inputs `names` over the graph's tensors.
///
/// A tensor of one column that bears an input's name holds that input. The rest goes by order: everything
/// where no name matches, the columns of matrices, which have no names, and an only tensor that is left.
pub(super) fn assign(tensors: &[GraphInput], names: &[&str]) -> anyhow::Result<Vec<Slot>> {
    let alone = (tensors.len() == 1).then_some(names.len());
    let shapes = tensors.iter().map(|tensor| width(tensor, alone));
    let shapes = shapes.collect::<anyhow::Result<Vec<_>>>()?;
    let columns: usize = shapes.iter().map(|(width, _)| width).sum();
    let list = || tensors.iter().map(|tensor| tensor.name.as_str());
    ensure!(
        columns == names.len(),
        "the model takes {columns} columns ({}), the manifest lists {} inputs ({})",
        list().collect::<Vec<_>>().join(", "),
        names.len(),
        names.join(", ")
    );
    let named = |tensor: &GraphInput, width| {
        let place = names.iter().position(|name| *name == tensor.name);
        place.filter(|_| width == 1)
    };
    let pairs = tensors.iter().zip(&shapes);
    let places: Vec<Option<usize>> = pairs
        .map(|(tensor, (width, _))| named(tensor, *width))
        .collect();
    let unnamed = || {
        places
            .iter()
            .zip(&shapes)
            .filter(|(place, _)| place.is_none())
    };
    let singles = unnamed().filter(|(_, (width, _))| *width == 1).count();
    if places.iter().any(Option::is_some) && singles > 0 && unnamed().count() > 1 {
        let strange = list().filter(|name| !names.contains(name));
        let left = names
            .iter()
            .filter(|name| list().all(|other| other != **name));
        bail!(
            "some of the model's inputs bear names of the manifest's, and some do not: the model takes {}, the \
             manifest lists {}; give the manifest's inputs the model's names",
            strange.collect::<Vec<_>>().join(", "),
            left.copied().collect::<Vec<_>>().join(", ")
        );
    }
    let mut left = (0..names.len()).filter(|column| !places.contains(&Some(*column)));
    let slots = tensors.iter().zip(&shapes).zip(&places);
    slots
        .map(|((tensor, (width, vector)), place)| {
            Ok(Slot {
                name: tensor.name.clone(),
                kind: kind(tensor)?,
                columns: match place {
                    Some(column) => vec![*column],
                    None => left.by_ref().take(*width).collect(),
                },
                by_name: place.is_some(),
                vector: *vector,
                used: tensor.used,
            })
        })
        .collect()
}

/// The number of a tensor's columns, and if it is a vector. `alone`: the width of an only tensor
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
    use std::path::Path;

    use super::*;
    use crate::model::{Input, Manifest, Operators, Session, Source, load_as};

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
        let mixed = [tensor("x", &[None, Some(2)]), single("a")];
        assert_eq!(columns(&mixed, &names), Ok(vec![vec![1, 2], vec![0]]));
        let one_left = [single("c"), single("x"), single("a")];
        assert_eq!(
            columns(&one_left, &names),
            Ok(vec![vec![2], vec![1], vec![0]])
        );
    }

    #[test]
    fn names_that_match_in_part_are_refused_with_both_lists() {
        let names = ["a", "b", "c"];
        let single = |name| tensor(name, &[None, Some(1)]);
        let error = columns(&[single("x"), single("b"), single("y")], &names).unwrap_err();
        assert!(
            error.contains("the model takes x, y, the manifest lists a, c;"),
            "{error}"
        );
        // Nothing tells which of the other columns the matrix holds.
        let matrix = tensor("m", &[None, Some(1)]);
        let wide = tensor("w", &[None, Some(2)]);
        let names = ["a", "b", "c", "d"];
        assert!(columns(&[matrix, wide, single("b")], &names).is_err());
    }

    #[test]
    fn a_column_whose_name_is_left_over_takes_the_input_that_is_left_over() {
        let input = |name: &str| Input {
            name: name.to_owned(),
            from: Source::Event,
            default: None,
            max_stale_ms: None,
        };
        let order = [
            "hour_of_day",
            "amount",
            "is_international",
            "merchant_risk_score",
        ];
        let manifest = Manifest {
            inputs: order.map(input).to_vec(),
            ..Manifest::default()
        };
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/partial_names.onnx");
        let model = load_as(&file, manifest, Operators::Ours).unwrap();
        let mut scores = Vec::new();
        let row = [3.0, 49.99, 1.0, 0.12];
        Session::new(&model).unwrap().score(&row, &mut scores);
        // onnxruntime's, fed by name.
        assert!((scores[0] - 0.393_442_06).abs() < 1e-6, "{scores:?}");
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
