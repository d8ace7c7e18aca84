//! Comparisons of all kinds made one: whether a number is at most a threshold.
//!
//! What a comparison does with a missing number, and whether it asks for equality, goes into columns
//! derived from the row's, computed once for a row; an order the other way round swaps the branches.

use hashbrown::HashMap;

use super::grow::{Mode, Node};

/// A tree that only asks whether a derived column is at most a threshold. Not a number never is.
#[derive(Debug)]
pub(super) enum Split {
    /// An end, with its values.
    Leaf(Vec<f32>),
    /// A comparison.
    Branch {
        /// The derived column.
        column: usize,
        /// Never not a number.
        threshold: f64,
        /// The next nodes: if it holds, and if not.
        to: Box<[Split; 2]>,
    },
}

impl Split {
    /// The number of the tree's leaves.
    pub(super) fn leaves(&self) -> usize {
        match self {
            Split::Leaf(_) => 1,
            Split::Branch { to, .. } => to[0].leaves() + to[1].leaves(),
        }
    }
}

/// A column derived from the row's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Column {
    /// The row's number.
    Plain(usize),
    /// The row's number, a missing one being less than all others.
    MissingLeast(usize),
    /// 0 where the row's number is this one (its bits), else 1; `missing`: 0 for a missing one too.
    Equal {
        column: usize,
        number: u64,
        missing: bool,
    },
}

/// The columns that an ensemble compares.
#[derive(Debug, Default)]
pub(super) struct Columns {
    derived: Vec<Column>,
    places: HashMap<Column, usize>,
}

impl Columns {
    /// Their number.
    pub(super) fn count(&self) -> usize {
        self.derived.len()
    }

    /// Appends the derived columns of `row` to `out`.
    pub(super) fn derive<T: Copy + Into<f64>>(&self, row: &[T], out: &mut Vec<f64>) {
        out.extend(self.derived.iter().map(|column| match column {
            Column::Plain(at) => row[*at].into(),
            Column::MissingLeast(at) => {
                let number: f64 = row[*at].into();
                if number.is_nan() {
                    f64::NEG_INFINITY
                } else {
                    number
                }
            }
            Column::Equal {
                column,
                number,
                missing,
            } => {
                let found: f64 = row[*column].into();
                let equal = found == f64::from_bits(*number) || (*missing && found.is_nan());
                f64::from(u8::from(!equal))
            }
        }));
    }

    /// Makes sure that there is one, though trees that are single leaves compare none.
    pub(super) fn ensure_one(&mut self) {
        if self.derived.is_empty() {
            self.place(Column::Plain(0));
        }
    }

    fn place(&mut self, column: Column) -> usize {
        let derived = &mut self.derived;
        *self.places.entry(column).or_insert_with_key(|column| {
            derived.push(column.clone());
            derived.len() - 1
        })
    }

    /// The tree in comparisons of one kind, its columns added to these.
    pub(super) fn simplify(&mut self, node: &Node) -> Split {
        let (column, mode, threshold, missing_holds, to) = match node {
            Node::Leaf(values) => return Split::Leaf(values.clone()),
            Node::Branch {
                column,
                mode,
                threshold,
                missing_holds,
                to,
            } => (*column, *mode, *threshold, *missing_holds, to),
        };
        let mut to = [self.simplify(&to[0]), self.simplify(&to[1])];
        // Of not a number nothing is less, equal or more: like a comparison with what no number equals.
        let ordered = !matches!(mode, Mode::Eq | Mode::Neq);
        let mode = if ordered && threshold.is_nan() {
            Mode::Eq
        } else {
            mode
        };
        // The opposites: what does not hold of a missing number does of its opposite.
        let (mode, missing, swapped) = match mode {
            Mode::Gt => (Mode::Leq, !missing_holds, true),
            Mode::Gte => (Mode::Lt, !missing_holds, true),
            // As in IEEE 754 and in onnxruntime, a missing number differs from every other.
            Mode::Neq => (Mode::Eq, false, true),
            Mode::Leq | Mode::Lt | Mode::Eq => (mode, missing_holds, false),
        };
        if swapped {
            to.swap(0, 1);
        }
        let ordered = if missing {
            Column::MissingLeast(column)
        } else {
            Column::Plain(column)
        };
        let (column, threshold) = match mode {
            Mode::Leq => (ordered, threshold),
            // Less than a number is at most the one before it.
            Mode::Lt if threshold > f64::NEG_INFINITY => (ordered, threshold.next_down()),
            _ => {
                // Nothing is less than -inf.
                let number = if mode == Mode::Eq {
                    threshold
                } else {
                    f64::NAN
                };
                let number = number.to_bits();
                let equal = Column::Equal {
                    column,
                    number,
                    missing,
                };
                (equal, 0.0)
            }
        };
        Split::Branch {
            column: self.place(column),
            threshold,
            to: Box::new(to),
        }
    }
}
