//! Trees walked from the root, several ways at once so that their loads overlap: one row down many
//! trees where rows are few, and many rows down one tree otherwise.

use std::ops::Range;

use super::compare::Split;

/// Ways walked at once.
const WAYS: usize = 16;

/// All trees of an ensemble.
#[derive(Debug, Default)]
pub(super) struct Walk {
    steps: Vec<Step>,
    roots: Vec<u32>,
    /// The values of each step, those of a branch without meaning.
    values: Vec<f32>,
}

/// A comparison: where it holds `to` comes next, else the step after that.
///
/// A leaf's never holds, and the step after its `to` is the leaf itself: a way that has ended may go
/// on walking while others have not.
#[derive(Clone, Copy, Debug)]
struct Step {
    threshold: f64,
    column: u32,
    to: u32,
}

impl Walk {
    /// Adds a tree whose leaves have `outputs` values.
    pub(super) fn add(&mut self, tree: &Split, outputs: usize) {
        self.roots.push(self.steps.len() as u32);
        // Breadth first: the steps near the root, which every way goes, lie together.
        let mut level = vec![(tree, self.extend(1, outputs))];
        while !level.is_empty() {
            let mut below = Vec::new();
            for (node, at) in level {
                self.steps[at] = match node {
                    Split::Leaf(values) => {
                        self.values[at * outputs..][..outputs].copy_from_slice(values);
                        Step {
                            threshold: f64::NAN,
                            column: 0,
                            to: (at as u32).wrapping_sub(1),
                        }
                    }
                    Split::Branch {
                        column,
                        threshold,
                        to,
                    } => {
                        let first = self.extend(2, outputs);
                        below.extend([(&to[0], first), (&to[1], first + 1)]);
                        Step {
                            threshold: *threshold,
                            column: *column as u32,
                            to: first as u32,
                        }
                    }
                };
            }
            level = below;
        }
    }

    fn extend(&mut self, count: usize, outputs: usize) -> usize {
        let first = self.steps.len();
        let blank = Step {
            threshold: f64::NAN,
            column: 0,
            to: 0,
        };
        self.steps.resize(first + count, blank);
        self.values.resize((first + count) * outputs, 0.0);
        first
    }

    /// Calls `take` with the values of the leaf that `row` ends in, for each of `trees`.
    pub(super) fn row(
        &self,
        trees: Range<usize>,
        row: &[f64],
        outputs: usize,
        mut take: impl FnMut(&[f32]),
    ) {
        let (groups, rest) = self.roots[trees].as_chunks::<WAYS>();
        for roots in groups {
            let mut at = *roots;
            self.descend(&mut at, |_, column| row[column]);
            at.iter().for_each(|at| take(self.leaf(*at, outputs)));
        }
        for root in rest {
            let mut at = [*root];
            self.descend(&mut at, |_, column| row[column]);
            take(self.leaf(at[0], outputs));
        }
    }

    /// Calls `take` with the values of the leaf that each of `rows`, of `width` columns, ends in.
    pub(super) fn rows(
        &self,
        tree: usize,
        rows: &[f64],
        width: usize,
        outputs: usize,
        mut take: impl FnMut(usize, &[f32]),
    ) {
        for (block, rows) in rows.chunks(WAYS * width).enumerate() {
            let last = rows.len() / width - 1;
            let mut at = [self.roots[tree]; WAYS];
            self.descend(&mut at, |way, column| rows[way.min(last) * width + column]);
            for (way, at) in at.iter().enumerate().take(last + 1) {
                take(block * WAYS + way, self.leaf(*at, outputs));
            }
        }
    }

    fn leaf(&self, at: u32, outputs: usize) -> &[f32] {
        &self.values[at as usize * outputs..][..outputs]
    }

    /// Leads each way to its leaf; `number` gives a way's number of a column.
    #[inline(always)]
    fn descend<const N: usize>(&self, at: &mut [u32; N], number: impl Fn(usize, usize) -> f64) {
        loop {
            let mut moved = 0;
            for (way, at) in at.iter_mut().enumerate() {
                let step = &self.steps[*at as usize];
                let holds = number(way, step.column as usize) <= step.threshold;
                let next = step.to.wrapping_add(u32::from(!holds));
                moved |= next ^ *at;
                *at = next;
            }
            if moved == 0 {
                return;
            }
        }
    }
}
