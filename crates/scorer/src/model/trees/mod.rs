//! Tree ensembles, evaluated fast on blocks of rows. Pure: attributes in, sums out.
//!
//! A tree of at most 64 leaves is evaluated without following its branches: each of its comparisons
//! is made for a whole block of rows at once, and strikes out the leaves that it makes unreachable
//! (QuickScorer's idea, turned so that the compiler makes vector code of it). Larger trees are walked,
//! several rows at a time so that their loads overlap.

// A negated comparison is not its opposite here: with a missing number neither holds.
#[allow(clippy::neg_cmp_op_on_partial_ord)]
mod bits;
mod grow;
#[allow(clippy::neg_cmp_op_on_partial_ord)]
mod walk;

#[cfg(test)]
mod tests;

pub(super) use grow::{Attributes, Node, grow};

#[cfg(test)]
use grow::Mode;

use bits::BitTree;
use walk::WalkTree;

/// The numbers that trees compare: `f32`, or `f64` for models fed with doubles.
pub(super) trait Number:
    Copy + PartialOrd + std::fmt::Debug + Send + Sync + 'static
{
    /// From a threshold in the model.
    fn of(threshold: f64) -> Self;
    /// Whether it is missing.
    fn is_missing(self) -> bool;
}

impl Number for f32 {
    fn of(threshold: f64) -> Self {
        threshold as f32
    }
    fn is_missing(self) -> bool {
        self.is_nan()
    }
}

impl Number for f64 {
    fn of(threshold: f64) -> Self {
        threshold
    }
    fn is_missing(self) -> bool {
        self.is_nan()
    }
}

/// How the trees' leaf values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Min,
    Max,
}

/// Rows evaluated together in a batch, and the remainder of a batch.
const BLOCK: usize = 16;
const SMALL: usize = 4;

/// An ensemble made ready.
#[derive(Debug)]
pub(super) struct Forest<T> {
    trees: Vec<Tree<T>>,
    /// Columns that a row must have at least.
    pub(super) columns: usize,
    /// Values of each leaf, and of the result.
    pub(super) outputs: usize,
    aggregate: Aggregate,
}

#[derive(Debug)]
enum Tree<T> {
    Narrow(BitTree<T, u32>),
    Wide(BitTree<T, u64>),
    Large(WalkTree<T>),
}

/// The leaf that each row of a block ends in.
type Leaves<const ROWS: usize> = [u32; ROWS];

impl<T: Number> Forest<T> {
    /// Makes grown trees ready; every leaf has `outputs` values.
    pub(super) fn new(roots: &[Node], outputs: usize, aggregate: Aggregate) -> Self {
        let trees = roots.iter().map(|root| match root.leaves() {
            ..=32 => Tree::Narrow(BitTree::new(root)),
            33..=64 => Tree::Wide(BitTree::new(root)),
            _ => Tree::Large(WalkTree::new(root)),
        });
        Forest {
            trees: trees.collect(),
            columns: roots.iter().map(Node::columns).max().unwrap_or(0),
            outputs,
            aggregate,
        }
    }

    /// Aggregates the trees' values for each row of `rows`, rows of `width` columns one after the
    /// other, into `sums`, rows of `outputs` values.
    pub(super) fn run(&self, rows: &[T], width: usize, sums: &mut [f32]) {
        let start = match self.aggregate {
            Aggregate::Sum => 0.0,
            Aggregate::Min => f32::INFINITY,
            Aggregate::Max => f32::NEG_INFINITY,
        };
        sums.fill(start);
        let (mut columns, mut few) = (Vec::new(), Vec::new());
        let mut done = 0;
        let count = sums.len() / self.outputs;
        while done < count {
            let rest = &rows[done * width..];
            let sums = &mut sums[done * self.outputs..];
            if count - done > SMALL {
                done += self.block::<BLOCK>(rest, width, &mut columns, sums);
            } else {
                done += self.block::<SMALL>(rest, width, &mut few, sums);
            }
        }
    }

    /// Evaluates up to `ROWS` rows; returns how many.
    fn block<const ROWS: usize>(
        &self,
        rows: &[T],
        width: usize,
        columns: &mut Vec<[T; ROWS]>,
        sums: &mut [f32],
    ) -> usize {
        let count = (sums.len() / self.outputs).min(ROWS);
        transpose(rows, width, count, columns);
        for tree in &self.trees {
            let (leaves, values) = match tree {
                Tree::Narrow(tree) => (tree.leaves(columns), &tree.values),
                Tree::Wide(tree) => (tree.leaves(columns), &tree.values),
                Tree::Large(tree) => (tree.leaves(columns), &tree.values),
            };
            self.add(&leaves[..count], values, sums);
        }
        count
    }

    fn add(&self, leaves: &[u32], values: &[f32], sums: &mut [f32]) {
        let combine: fn(f32, f32) -> f32 = match self.aggregate {
            Aggregate::Sum if self.outputs == 1 => {
                for (sum, leaf) in sums.iter_mut().zip(leaves) {
                    *sum += values[*leaf as usize];
                }
                return;
            }
            Aggregate::Sum => |sum, value| sum + value,
            Aggregate::Min => f32::min,
            Aggregate::Max => f32::max,
        };
        for (sums, leaf) in sums.chunks_exact_mut(self.outputs).zip(leaves) {
            let start = *leaf as usize * self.outputs;
            for (sum, value) in sums.iter_mut().zip(&values[start..start + self.outputs]) {
                *sum = combine(*sum, *value);
            }
        }
    }
}

/// Turns `count` rows into columns of `ROWS`, the missing rows repeating the first.
fn transpose<T: Number, const ROWS: usize>(
    rows: &[T],
    width: usize,
    count: usize,
    columns: &mut Vec<[T; ROWS]>,
) {
    columns.clear();
    columns.extend(rows[..width].iter().map(|first| [*first; ROWS]));
    for (at, row) in rows.chunks_exact(width).take(count).enumerate() {
        for (column, number) in columns.iter_mut().zip(row) {
            column[at] = *number;
        }
    }
}
