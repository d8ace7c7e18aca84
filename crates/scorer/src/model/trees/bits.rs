//! Trees of few leaves: every comparison for a block of rows at once, as bit masks over the leaves.
//!
//! Leaves are numbered from the branch that is taken when a comparison holds. Where it does not hold,
//! the leaves below that branch are struck out. What is left in the end is led by the row's own leaf.

use super::grow::{Mode, Node};
use super::{Leaves, Number};

/// A set of leaves.
pub(super) trait Mask: Copy + std::fmt::Debug + Send + Sync + 'static {
    const ALL: Self;
    /// The leaves `from..to` struck out of all.
    fn without(from: usize, to: usize) -> Self;
    /// `self`, with those outside `kept` struck out unless `holds`.
    fn strike(self, kept: Self, holds: bool) -> Self;
    fn first(self) -> u32;
}

macro_rules! mask {
    ($type:ty) => {
        impl Mask for $type {
            const ALL: Self = <$type>::MAX;
            fn without(from: usize, to: usize) -> Self {
                (from..to).fold(Self::ALL, |mask, leaf| mask & !(1 << leaf))
            }
            #[inline(always)]
            fn strike(self, kept: Self, holds: bool) -> Self {
                self & (kept | (holds as Self).wrapping_neg())
            }
            #[inline(always)]
            fn first(self) -> u32 {
                self.trailing_zeros()
            }
        }
    };
}

mask!(u32);
mask!(u64);

/// A tree of at most as many leaves as `M` has bits.
#[derive(Debug)]
pub(super) struct BitTree<T, M> {
    /// Comparisons of one kind each; their order among each other does not matter.
    groups: Vec<Group<T, M>>,
    /// The leaves' values, leaf after leaf.
    pub(super) values: Vec<f32>,
}

#[derive(Debug)]
struct Group<T, M> {
    mode: Mode,
    missing_holds: bool,
    tests: Vec<Test<T, M>>,
}

#[derive(Clone, Copy, Debug)]
struct Test<T, M> {
    threshold: T,
    column: u32,
    /// The leaves still reachable when it does not hold.
    kept: M,
}

impl<T: Number, M: Mask> BitTree<T, M> {
    pub(super) fn new(root: &Node) -> Self {
        let mut tree = BitTree {
            groups: Vec::new(),
            values: Vec::new(),
        };
        tree.take(root, &mut 0);
        tree
    }

    fn take(&mut self, node: &Node, next: &mut usize) {
        let (column, mode, threshold, missing_holds, to) = match node {
            Node::Leaf(values) => {
                self.values.extend(values);
                *next += 1;
                return;
            }
            Node::Branch {
                column,
                mode,
                threshold,
                missing_holds,
                to,
            } => (*column as u32, *mode, *threshold, *missing_holds, to),
        };
        let first = *next;
        self.take(&to[0], next);
        let test = Test {
            threshold: T::of(threshold),
            column,
            kept: M::without(first, *next),
        };
        self.take(&to[1], next);
        let alike =
            |group: &&mut Group<T, M>| group.mode == mode && group.missing_holds == missing_holds;
        match self.groups.iter_mut().find(alike) {
            Some(group) => group.tests.push(test),
            None => self.groups.push(Group {
                mode,
                missing_holds,
                tests: vec![test],
            }),
        }
    }

    /// The leaf that each row ends in.
    #[inline]
    pub(super) fn leaves<const ROWS: usize>(&self, columns: &[[T; ROWS]]) -> Leaves<ROWS> {
        let mut left = [M::ALL; ROWS];
        for group in &self.groups {
            // A comparison with a number that is missing never holds; its opposite's opposite does.
            match (group.mode, group.missing_holds) {
                (Mode::Leq, false) => strike(group, columns, &mut left, |x, t| x <= t),
                (Mode::Leq, true) => strike(group, columns, &mut left, |x, t| !(x > t)),
                (Mode::Lt, false) => strike(group, columns, &mut left, |x, t| x < t),
                (Mode::Lt, true) => strike(group, columns, &mut left, |x, t| !(x >= t)),
                (Mode::Gte, false) => strike(group, columns, &mut left, |x, t| x >= t),
                (Mode::Gte, true) => strike(group, columns, &mut left, |x, t| !(x < t)),
                (Mode::Gt, false) => strike(group, columns, &mut left, |x, t| x > t),
                (Mode::Gt, true) => strike(group, columns, &mut left, |x, t| !(x <= t)),
                (Mode::Eq, false) => strike(group, columns, &mut left, |x, t| x == t),
                (Mode::Eq, true) => {
                    strike(group, columns, &mut left, |x, t| x == t || x.is_missing());
                }
                // As in IEEE 754 and in onnxruntime, a missing number differs from every other.
                (Mode::Neq, _) => strike(group, columns, &mut left, |x, t| x != t),
            }
        }
        left.map(M::first)
    }
}

#[inline(always)]
fn strike<T: Number, M: Mask, const ROWS: usize>(
    group: &Group<T, M>,
    columns: &[[T; ROWS]],
    left: &mut [M; ROWS],
    holds: impl Fn(T, T) -> bool,
) {
    let mut rest = *left;
    for test in &group.tests {
        let column = &columns[test.column as usize];
        for (left, number) in rest.iter_mut().zip(column) {
            *left = left.strike(test.kept, holds(*number, test.threshold));
        }
    }
    *left = rest;
}
