//! Grows trees from the lists of ai.onnx.ml 5: nodes by their place, leaves apart from them.

use anyhow::{Context, ensure};

use super::grow::{DEPTH, Mode, Node};

/// An ensemble as flat lists, under ONNX's names without their prefixes.
#[derive(Debug, Default)]
pub(in super::super) struct PartsFive<'a> {
    pub(in super::super) roots: &'a [i64],
    pub(in super::super) feature_ids: &'a [i64],
    pub(in super::super) splits: Vec<f64>,
    /// From 0 on: LEQ, LT, GTE, GT, EQ, NEQ; and MEMBER, which is refused.
    pub(in super::super) modes: Vec<f64>,
    pub(in super::super) true_ids: &'a [i64],
    /// True if a node's `true_ids` is a leaf's place.
    pub(in super::super) true_leafs: &'a [i64],
    pub(in super::super) false_ids: &'a [i64],
    pub(in super::super) false_leafs: &'a [i64],
    /// Empty: missing numbers never hold.
    pub(in super::super) missing_track_true: &'a [i64],
    pub(in super::super) leaf_target_ids: &'a [i64],
    pub(in super::super) leaf_weights: Vec<f64>,
}

/// Grows the trees, in the order of their roots. Their leaves have `outputs` values.
pub(in super::super) fn grow_five(
    from: &PartsFive<'_>,
    outputs: usize,
) -> anyhow::Result<Vec<Node>> {
    let count = from.feature_ids.len();
    let missing = from.missing_track_true.len();
    let lengths = [
        from.splits.len(),
        from.modes.len(),
        from.true_ids.len(),
        from.true_leafs.len(),
        from.false_ids.len(),
        from.false_leafs.len(),
        if missing == 0 { count } else { missing },
    ];
    ensure!(
        lengths.iter().all(|length| *length == count),
        "the node lists differ in length"
    );
    ensure!(
        from.leaf_target_ids.len() == from.leaf_weights.len(),
        "the leaf lists differ in length"
    );
    ensure!(!from.roots.is_empty(), "the ensemble has no trees");
    let mut grower = Grower {
        from,
        reached: vec![false; count],
        outputs,
    };
    let roots = from.roots.iter();
    roots
        .map(|root| grower.node(usize::try_from(*root)?, 0))
        .collect()
}

struct Grower<'a> {
    from: &'a PartsFive<'a>,
    /// The nodes met so far: where branches meet again, the tree would grow without bounds.
    reached: Vec<bool>,
    outputs: usize,
}

impl Grower<'_> {
    fn node(&mut self, at: usize, depth: usize) -> anyhow::Result<Node> {
        let from = self.from;
        ensure!(depth < DEPTH, "a tree is deeper than {DEPTH}");
        let reached = self.reached.get_mut(at);
        let reached =
            reached.with_context(|| format!("a branch leads to node {at}, which is not there"))?;
        ensure!(
            !std::mem::replace(reached, true),
            "a tree is none: two branches lead to node {at}"
        );
        let mut child = |ids: &[i64], leafs: &[i64]| {
            let id = usize::try_from(ids[at])?;
            if leafs[at] != 0 {
                self.leaf(id)
            } else {
                self.node(id, depth + 1)
            }
        };
        let to = Box::new([
            child(from.true_ids, from.true_leafs)?,
            child(from.false_ids, from.false_leafs)?,
        ]);
        let column = usize::try_from(from.feature_ids[at])?;
        let missing_holds = from
            .missing_track_true
            .get(at)
            .is_some_and(|flag| *flag != 0);
        let modes = [
            Mode::Leq,
            Mode::Lt,
            Mode::Gte,
            Mode::Gt,
            Mode::Eq,
            Mode::Neq,
        ];
        let mode = modes.get(from.modes[at] as usize);
        let mode =
            mode.with_context(|| format!("nodes of mode {} are not known here", from.modes[at]))?;
        Ok(Node::Branch {
            column,
            mode: *mode,
            threshold: from.splits[at],
            missing_holds,
            to,
        })
    }

    fn leaf(&self, at: usize) -> anyhow::Result<Node> {
        let found = self
            .from
            .leaf_target_ids
            .get(at)
            .zip(self.from.leaf_weights.get(at));
        let (target, weight) =
            found.with_context(|| format!("a branch leads to leaf {at}, which is not there"))?;
        let mut values = vec![0.0; self.outputs];
        let value = values.get_mut(usize::try_from(*target)?);
        *value.context("a leaf names a target that is not there")? = *weight as f32;
        Ok(Node::Leaf(values))
    }
}
