//! Tree ensembles, evaluated fast. Pure: attributes in, sums out.
//!
//! Comparisons are made all of one kind first (`compare`). Batches then go through trees of few leaves
//! without following their branches, on ranks instead of numbers (`bits`, `ranks`); larger trees, and
//! single rows, are walked (`walk`).

mod bits;
mod compare;
mod grow;
mod grow_five;
mod ranks;
mod walk;

#[cfg(test)]
mod tests;

pub(super) use grow::{Node, Parts, grow};
pub(super) use grow_five::{PartsFive, grow_five};

#[cfg(test)]
use grow::Mode;

use std::ops::Range;

use bits::{BitTree, ROWS};
use compare::{Columns, Split};
use ranks::{Lane, Ranks};
use walk::Walk;

/// The way in which the trees' leaf values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Min,
    Max,
}

/// Rows evaluated before the next tree is taken up: what they need stays in the nearest cache.
const CHUNK: usize = 256;

/// Fewer rows than this are walked even down trees of few leaves.
const FEW: usize = 5;

/// Fewer rows than this are walked one by one, down many trees at once, rather than together.
const MANY: usize = 32;

/// An ensemble made ready.
#[derive(Debug)]
pub(super) struct Forest {
    derived: Columns,
    /// All trees, the large ones last.
    walk: Walk,
    /// The number of trees.
    trees: usize,
    /// The number of small trees.
    small: usize,
    /// The small ones once more.
    bits: Bits,
    /// Columns that a row must have at least.
    pub(super) columns: usize,
    /// Values of each leaf, and of the result.
    outputs: usize,
    aggregate: Aggregate,
}

/// Trees of few leaves, on the smallest integers that hold the ranks.
#[derive(Debug)]
enum Bits {
    Narrow(Vec<BitTree<i8>>, Ranks),
    Wide(Vec<BitTree<i16>>, Ranks),
}

impl Forest {
    /// Makes grown trees ready; every leaf has `outputs` values.
    pub(super) fn new(roots: &[Node], outputs: usize, aggregate: Aggregate) -> Self {
        let mut derived = Columns::default();
        let trees = roots.iter().map(|root| derived.simplify(root));
        let (mut small, mut large): (Vec<Split>, Vec<Split>) =
            trees.partition(|tree| tree.leaves() <= bits::LEAVES);
        derived.ensure_one();
        let mut ranks = Ranks::new(&small, derived.count());
        if ranks.most() > i16::THRESHOLDS {
            large.append(&mut small);
            ranks = Ranks::new(&small, derived.count());
        }
        let bits = if ranks.most() <= i8::THRESHOLDS {
            let trees = small.iter().map(|tree| BitTree::new(tree, &ranks));
            Bits::Narrow(trees.collect(), ranks)
        } else {
            let trees = small.iter().map(|tree| BitTree::new(tree, &ranks));
            Bits::Wide(trees.collect(), ranks)
        };
        let mut walk = Walk::default();
        let all = small.iter().chain(&large);
        all.for_each(|tree| walk.add(tree, outputs));
        Forest {
            columns: roots.iter().map(Node::columns).fold(1, usize::max),
            trees: roots.len(),
            small: small.len(),
            derived,
            walk,
            bits,
            outputs,
            aggregate,
        }
    }

    /// Aggregates the trees' values for each row of `rows`, rows of `width` columns one after the
    /// other, into `sums`, rows of `outputs` values.
    pub(super) fn run<T: Copy + Into<f64>>(&self, rows: &[T], width: usize, sums: &mut [f32]) {
        sums.fill(match self.aggregate {
            Aggregate::Sum => 0.0,
            Aggregate::Min => f32::INFINITY,
            Aggregate::Max => f32::NEG_INFINITY,
        });
        let mut derived = Vec::new();
        let rows = rows.chunks(CHUNK * width);
        for (rows, sums) in rows.zip(sums.chunks_mut(CHUNK * self.outputs)) {
            derived.clear();
            let rows = rows.chunks_exact(width);
            rows.for_each(|row| self.derived.derive(row, &mut derived));
            self.chunk(&derived, sums);
        }
    }

    /// Adds the trees' values in the order of the trees, however many rows there are: sums of floats depend on
    /// it, and a row's must not depend on the rows beside it.
    fn chunk(&self, rows: &[f64], sums: &mut [f32]) {
        let count = sums.len() / self.outputs;
        if count < FEW {
            return self.walk_rows(0..self.trees, rows, sums);
        }
        match &self.bits {
            Bits::Narrow(trees, ranks) => self.strike(trees, ranks, rows, sums),
            Bits::Wide(trees, ranks) => self.strike(trees, ranks, rows, sums),
        }
        if count < MANY {
            return self.walk_rows(self.small..self.trees, rows, sums);
        }
        let (width, outputs) = (self.derived.count(), self.outputs);
        for tree in self.small..self.trees {
            self.walk.rows(tree, rows, width, outputs, |row, values| {
                self.add(values, &mut sums[row * outputs..][..outputs]);
            });
        }
    }

    /// Walks each row by itself down these trees.
    fn walk_rows(&self, trees: Range<usize>, rows: &[f64], sums: &mut [f32]) {
        let width = self.derived.count();
        for (at, sums) in sums.chunks_exact_mut(self.outputs).enumerate() {
            let row = &rows[at * width..][..width];
            let add = |values: &[f32]| self.add(values, sums);
            self.walk.row(trees.clone(), row, self.outputs, add);
        }
    }

    fn strike<L: Lane>(&self, trees: &[BitTree<L>], ranks: &Ranks, rows: &[f64], sums: &mut [f32]) {
        if trees.is_empty() {
            return;
        }
        let width = self.derived.count();
        let mut blocks = Vec::with_capacity(sums.len().div_ceil(ROWS) * width);
        for rows in rows.chunks(ROWS * width) {
            // A last block that is not full repeats its last row.
            let last = rows.len() / width - 1;
            let of = |column| std::array::from_fn(|at| rows[at.min(last) * width + column]);
            blocks.extend((0..width).map(|column| ranks.rank(column, of(column))));
        }
        for tree in trees {
            let sums = sums.chunks_mut(ROWS * self.outputs);
            for (block, sums) in blocks.chunks_exact(width).zip(sums) {
                let leaves = tree.leaves(block);
                if self.outputs == 1 && self.aggregate == Aggregate::Sum {
                    for (sum, leaf) in sums.iter_mut().zip(leaves) {
                        *sum += tree.values()[usize::from(leaf)];
                    }
                    continue;
                }
                for (sums, leaf) in sums.chunks_exact_mut(self.outputs).zip(leaves) {
                    let values = &tree.values()[usize::from(leaf) * self.outputs..];
                    self.add(&values[..self.outputs], sums);
                }
            }
        }
    }

    #[inline(always)]
    fn add(&self, values: &[f32], sums: &mut [f32]) {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum = match self.aggregate {
                Aggregate::Sum => *sum + value,
                Aggregate::Min => sum.min(*value),
                Aggregate::Max => sum.max(*value),
            };
        }
    }
}
