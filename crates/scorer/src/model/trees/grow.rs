//! Grows trees from the flat lists of attributes that ONNX keeps them in.

use anyhow::{Context, bail, ensure};
use hashbrown::HashMap;

/// A node's comparison of a row's number with its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in super::super) enum Mode {
    /// `x <= threshold`
    Leq,
    /// `x < threshold`
    Lt,
    /// `x >= threshold`
    Gte,
    /// `x > threshold`
    Gt,
    /// `x == threshold`
    Eq,
    /// `x != threshold`
    Neq,
}

/// A tree.
#[derive(Clone, Debug)]
pub(in super::super) enum Node {
    /// An end, with its values.
    Leaf(Vec<f32>),
    /// A comparison, and where it leads.
    Branch {
        /// The column compared.
        column: usize,
        /// The comparison.
        mode: Mode,
        /// With what.
        threshold: f64,
        /// True if the comparison holds for a missing number.
        missing_holds: bool,
        /// The next nodes: if it holds, and if not.
        to: Box<[Node; 2]>,
    },
}

impl Node {
    /// The number of columns that a row needs.
    pub(super) fn columns(&self) -> usize {
        match self {
            Node::Leaf(_) => 0,
            Node::Branch { column, to, .. } => {
                (column + 1).max(to[0].columns()).max(to[1].columns())
            }
        }
    }
}

/// An ensemble as flat lists, under ONNX's names without their prefixes.
#[derive(Debug, Default)]
pub(in super::super) struct Parts<'a> {
    pub(in super::super) tree_ids: &'a [i64],
    pub(in super::super) node_ids: &'a [i64],
    pub(in super::super) feature_ids: &'a [i64],
    pub(in super::super) values: Vec<f64>,
    pub(in super::super) modes: Vec<&'a str>,
    pub(in super::super) true_ids: &'a [i64],
    pub(in super::super) false_ids: &'a [i64],
    /// Empty: missing numbers never hold.
    pub(in super::super) missing_track_true: &'a [i64],
    pub(in super::super) leaf_tree_ids: Vec<i64>,
    pub(in super::super) leaf_node_ids: Vec<i64>,
    /// The output that a leaf's weight is for.
    pub(in super::super) leaf_ids: Vec<i64>,
    pub(in super::super) leaf_weights: Vec<f64>,
}

/// Trees deeper than this are refused rather than risk the stack.
pub(super) const DEPTH: usize = 2_000;

/// Grows the trees, in the order of their first nodes. Their leaves have `outputs` values.
pub(in super::super) fn grow(from: &Parts<'_>, outputs: usize) -> anyhow::Result<Vec<Node>> {
    let count = from.tree_ids.len();
    let missing = from.missing_track_true.len();
    let lengths = [
        from.node_ids.len(),
        from.feature_ids.len(),
        from.values.len(),
        from.modes.len(),
        from.true_ids.len(),
        from.false_ids.len(),
        if missing == 0 { count } else { missing },
    ];
    ensure!(count > 0, "the ensemble has no nodes");
    ensure!(
        lengths.iter().all(|length| *length == count),
        "the node lists differ in length"
    );
    let mut grower = Grower {
        from,
        at: HashMap::new(),
        weights: HashMap::new(),
        left: 8 * count + SHARED,
        outputs,
    };
    let mut trees: Vec<(i64, usize)> = Vec::new();
    for (index, key) in from.tree_ids.iter().zip(from.node_ids).enumerate() {
        ensure!(
            grower.at.insert((*key.0, *key.1), index).is_none(),
            "node {key:?} is there twice"
        );
        if trees.last().is_none_or(|(tree, _)| tree != key.0) {
            // A tree's first node is its root.
            if !trees.iter().any(|(tree, _)| tree == key.0) {
                trees.push((*key.0, index));
            }
        }
    }
    let lengths = [
        from.leaf_node_ids.len(),
        from.leaf_ids.len(),
        from.leaf_weights.len(),
    ];
    let leaves = from.leaf_tree_ids.len();
    ensure!(
        lengths.iter().all(|length| *length == leaves),
        "the leaf lists differ in length"
    );
    for (index, key) in from
        .leaf_tree_ids
        .iter()
        .zip(&from.leaf_node_ids)
        .enumerate()
    {
        grower
            .weights
            .entry((*key.0, *key.1))
            .or_default()
            .push(index);
    }
    trees
        .iter()
        .map(|(_, root)| grower.node(*root, 0))
        .collect()
}

/// Nodes beyond eight times the file's: LightGBM's categories share nodes between branches.
const SHARED: usize = 100_000;

struct Grower<'a> {
    from: &'a Parts<'a>,
    /// The place of each (tree, node).
    at: HashMap<(i64, i64), usize>,
    /// The place of the weights of each (tree, node).
    weights: HashMap<(i64, i64), Vec<usize>>,
    /// Nodes that may still be grown: where branches meet again, what is below is grown once for each.
    left: usize,
    outputs: usize,
}

impl Grower<'_> {
    fn node(&mut self, index: usize, depth: usize) -> anyhow::Result<Node> {
        let from = self.from;
        let key = (from.tree_ids[index], from.node_ids[index]);
        ensure!(depth < DEPTH, "tree {} is deeper than {DEPTH}", key.0);
        let left = self.left.checked_sub(1);
        self.left = left.with_context(|| {
            format!(
                "tree {} grows without bounds: its branches meet again and again",
                key.0
            )
        })?;
        let mode = match from.modes[index] {
            "LEAF" => return self.leaf(key),
            "BRANCH_LEQ" => Mode::Leq,
            "BRANCH_LT" => Mode::Lt,
            "BRANCH_GTE" => Mode::Gte,
            "BRANCH_GT" => Mode::Gt,
            "BRANCH_EQ" => Mode::Eq,
            "BRANCH_NEQ" => Mode::Neq,
            other => bail!("nodes of mode {other:?} are not known here"),
        };
        let mut child = |id: i64| {
            let to = self.at.get(&(key.0, id)).with_context(|| {
                format!(
                    "node {} of tree {} leads to {id}, which is not there",
                    key.1, key.0
                )
            })?;
            self.node(*to, depth + 1)
        };
        Ok(Node::Branch {
            column: usize::try_from(from.feature_ids[index])?,
            mode,
            threshold: from.values[index],
            missing_holds: from
                .missing_track_true
                .get(index)
                .is_some_and(|flag| *flag != 0),
            to: Box::new([child(from.true_ids[index])?, child(from.false_ids[index])?]),
        })
    }

    fn leaf(&self, key: (i64, i64)) -> anyhow::Result<Node> {
        let mut values = vec![0.0; self.outputs];
        for index in self.weights.get(&key).into_iter().flatten() {
            // One output stands for whichever the ids name.
            let output = if self.outputs == 1 {
                0
            } else {
                usize::try_from(self.from.leaf_ids[*index])?
            };
            let value = values
                .get_mut(output)
                .context("a leaf names an output that is not there")?;
            *value += self.from.leaf_weights[*index] as f32;
        }
        Ok(Node::Leaf(values))
    }
}
