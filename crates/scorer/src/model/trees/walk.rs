//! Trees of many leaves: rows walk from the root, a block of them in step so that their loads overlap.

use super::grow::{Mode, Node};
use super::{Leaves, Number};

/// A tree as an array of nodes.
#[derive(Debug)]
pub(super) struct WalkTree<T> {
    nodes: Vec<Step<T>>,
    /// Steps from the root to the deepest leaf.
    depth: usize,
    /// Whether all nodes compare by `<=` and missing numbers never hold.
    plain: bool,
    /// The leaves' values, leaf after leaf.
    pub(super) values: Vec<f32>,
}

/// A node. A leaf leads back to itself, so that rows that are there already may go on walking.
#[derive(Clone, Copy, Debug)]
struct Step<T> {
    threshold: T,
    column: u32,
    /// Where to go when the comparison holds; the other way is the node after.
    to: u32,
    /// The leaf's number; of no meaning in a branch.
    leaf: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Leaf,
    Branch(Mode, bool),
}

impl<T: Number> WalkTree<T> {
    pub(super) fn new(root: &Node) -> Self {
        let mut tree = WalkTree {
            nodes: Vec::new(),
            depth: 0,
            plain: true,
            values: Vec::new(),
        };
        // Breadth first: the nodes near the root, which every row visits, lie together.
        let mut level = vec![(root, 0)];
        let mut leaves = 0;
        tree.nodes.push(tree.blank());
        while !level.is_empty() {
            let mut below = Vec::new();
            for (node, at) in level {
                let blank = tree.blank();
                tree.nodes[at] = match node {
                    Node::Leaf(values) => {
                        tree.values.extend(values);
                        leaves += 1;
                        Step {
                            to: at as u32,
                            leaf: leaves - 1,
                            kind: Kind::Leaf,
                            ..blank
                        }
                    }
                    Node::Branch {
                        column,
                        mode,
                        threshold,
                        missing_holds,
                        to,
                    } => {
                        let first = tree.nodes.len();
                        tree.nodes.extend([blank; 2]);
                        below.extend([(&to[0], first), (&to[1], first + 1)]);
                        tree.plain &= *mode == Mode::Leq && !missing_holds;
                        Step {
                            threshold: T::of(*threshold),
                            column: *column as u32,
                            to: first as u32,
                            leaf: 0,
                            kind: Kind::Branch(*mode, *missing_holds),
                        }
                    }
                };
            }
            level = below;
            tree.depth += 1;
        }
        tree
    }

    fn blank(&self) -> Step<T> {
        Step {
            threshold: T::of(0.0),
            column: 0,
            to: 0,
            leaf: 0,
            kind: Kind::Leaf,
        }
    }

    /// The leaf that each row ends in.
    pub(super) fn leaves<const ROWS: usize>(&self, columns: &[[T; ROWS]]) -> Leaves<ROWS> {
        let mut at = [0u32; ROWS];
        for _ in 1..self.depth {
            let mut moved = false;
            for (row, at) in at.iter_mut().enumerate() {
                let node = &self.nodes[*at as usize];
                let number = columns[node.column as usize][row];
                let next = match node.kind {
                    Kind::Leaf => *at,
                    Kind::Branch(..) if self.plain => {
                        node.to + u32::from(!(number <= node.threshold))
                    }
                    Kind::Branch(mode, missing_holds) => {
                        let holds = compare(mode, missing_holds, number, node.threshold);
                        node.to + u32::from(!holds)
                    }
                };
                moved |= next != *at;
                *at = next;
            }
            if !moved {
                break;
            }
        }
        at.map(|at| self.nodes[at as usize].leaf)
    }
}

fn compare<T: Number>(mode: Mode, missing_holds: bool, number: T, threshold: T) -> bool {
    let holds = match mode {
        Mode::Leq => number <= threshold,
        Mode::Lt => number < threshold,
        Mode::Gte => number >= threshold,
        Mode::Gt => number > threshold,
        Mode::Eq => number == threshold,
        Mode::Neq => number != threshold,
    };
    holds || (missing_holds && number.is_missing())
}
