//! Trees of few leaves, evaluated without following their branches: every comparison is made for a
//! block of rows at once, and strikes out the leaves that it makes unreachable.
//!
//! This is QuickScorer's idea (Lucchese et al., 2015), turned so that the compiler makes vector code of
//! it: numbers are ranks in 8 or 16 bits, and leaves are bits of as small integers, the planes. Of a
//! branch's two sides the one of fewer leaves comes first and is the one struck out, so that most
//! comparisons touch one plane only.

use super::compare::Split;
use super::ranks::{Lane, Ranks};

/// Trees of more leaves are walked.
pub(super) const LEAVES: usize = 64;

/// Rows of a block. Sixteen ranks of 8 bits fill one vector of the smallest units there are; larger
/// blocks are not kept in registers by the compiler and take three times as long.
pub(super) const ROWS: usize = 16;

/// A number for each row of a block.
pub(super) type Block<T> = [T; ROWS];

/// A tree of at most [`LEAVES`] leaves.
#[derive(Debug)]
pub(super) struct BitTree<L> {
    planes: Vec<Plane<L>>,
    /// The leaves' values, leaf after leaf.
    values: Vec<f32>,
}

/// The comparisons that may strike out leaves of one plane.
#[derive(Debug, Default)]
struct Plane<L> {
    /// Comparisons that strike when the rank is above the limit.
    above: Vec<Strike<L>>,
    /// Comparisons that strike when it is not.
    others: Vec<Strike<L>>,
}

/// A comparison, its limit and the leaves it strikes out repeated as vector units want them.
#[derive(Debug)]
struct Strike<L> {
    limit: Block<L>,
    leaves: Block<L>,
    column: usize,
}

impl<L: Lane> BitTree<L> {
    /// The leaves' values, leaf after leaf.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(super) fn new(root: &Split, ranks: &Ranks) -> Self {
        let mut tree = BitTree {
            planes: Vec::new(),
            values: Vec::new(),
        };
        for _ in 0..root.leaves().div_ceil(L::BITS) {
            tree.planes.push(Plane::default());
        }
        tree.take(root, ranks, &mut 0);
        tree
    }

    fn take(&mut self, node: &Split, ranks: &Ranks, next: &mut usize) {
        let (column, threshold, to) = match node {
            Split::Leaf(values) => {
                self.values.extend(values);
                *next += 1;
                return;
            }
            Split::Branch {
                column,
                threshold,
                to,
            } => (*column, *threshold, to),
        };
        let above = to[0].leaves() <= to[1].leaves();
        let (first, second) = if above {
            (&to[0], &to[1])
        } else {
            (&to[1], &to[0])
        };
        let from = *next;
        self.take(first, ranks, next);
        let limit = L::rank(ranks.of_threshold(column, threshold));
        for (at, plane) in self.planes.iter_mut().enumerate() {
            let within = |leaf: usize| leaf.clamp(at * L::BITS, (at + 1) * L::BITS) - at * L::BITS;
            let struck = within(from)..within(*next);
            if !struck.is_empty() {
                let strike = Strike {
                    limit: [limit; ROWS],
                    leaves: [L::leaves(struck); ROWS],
                    column,
                };
                let side = if above {
                    &mut plane.above
                } else {
                    &mut plane.others
                };
                side.push(strike);
            }
        }
        self.take(second, ranks, next);
    }

    /// The leaf that each row ends in: the first that is not struck out. `ranks` has a column each.
    #[inline]
    pub(super) fn leaves(&self, ranks: &[Block<L>]) -> Block<u8> {
        let (mut first, mut before) = ([L::default(); ROWS], [0; ROWS]);
        for (at, plane) in self.planes.iter().enumerate().rev() {
            let mut struck = [L::default(); ROWS];
            for strike in &plane.above {
                strike.apply(&mut struck, ranks, |rank, limit| rank > limit);
            }
            for strike in &plane.others {
                strike.apply(&mut struck, ranks, |rank, limit| rank <= limit);
            }
            let base = (at * L::BITS) as u8;
            for ((first, before), struck) in first.iter_mut().zip(&mut before).zip(struck) {
                let open = struck != L::ALL;
                *first = if open { struck } else { *first };
                *before = if open { base } else { *before };
            }
        }
        let mut leaves = [0; ROWS];
        for ((leaf, first), before) in leaves.iter_mut().zip(first).zip(before) {
            *leaf = before + first.lowest();
        }
        leaves
    }
}

impl<L: Lane> Strike<L> {
    #[inline(always)]
    fn apply(&self, struck: &mut Block<L>, ranks: &[Block<L>], strikes: impl Fn(L, L) -> bool) {
        let column = &ranks[self.column];
        for row in 0..ROWS {
            struck[row] |= self.leaves[row].when(strikes(column[row], self.limit[row]));
        }
    }
}
