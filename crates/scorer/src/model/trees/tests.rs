//! The fast evaluation against a naive walk, which follows each row alone from the root.

use proptest::prelude::*;

use super::{Aggregate, Forest, Mode, Node, Parts, grow};

fn naive(node: &Node, row: &[f64]) -> Vec<f32> {
    match node {
        Node::Leaf(values) => values.clone(),
        Node::Branch {
            column,
            mode,
            threshold,
            missing_holds,
            to,
        } => {
            let x = row[*column];
            let holds = if x.is_nan() {
                *missing_holds || *mode == Mode::Neq
            } else {
                match mode {
                    Mode::Leq => x <= *threshold,
                    Mode::Lt => x < *threshold,
                    Mode::Gte => x >= *threshold,
                    Mode::Gt => x > *threshold,
                    Mode::Eq => x == *threshold,
                    Mode::Neq => x != *threshold,
                }
            };
            naive(&to[usize::from(!holds)], row)
        }
    }
}

const COLUMNS: usize = 3;

/// Few different numbers, so that rows often lie exactly on thresholds.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (-4i8..5).prop_map(|x| f64::from(x) / 2.0),
        1 => Just(f64::NAN),
        2 => (-4i8..5, any::<bool>()).prop_map(|(x, up)| {
            let x = f64::from(x) / 2.0;
            if up { x.next_up() } else { x.next_down() }
        }),
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(1e30), Just(-0.0)],
    ]
}

fn tree(outputs: usize, plain: bool, size: u32) -> impl Strategy<Value = Node> {
    let leaf = prop::collection::vec((-8i8..9).prop_map(f32::from), outputs).prop_map(Node::Leaf);
    leaf.prop_recursive(9, size, 2, move |below| {
        let modes = [
            Mode::Leq,
            Mode::Lt,
            Mode::Gte,
            Mode::Gt,
            Mode::Eq,
            Mode::Neq,
        ];
        let mode = prop::sample::select(if plain {
            vec![Mode::Leq]
        } else {
            modes.to_vec()
        });
        (
            0..COLUMNS,
            mode,
            number(),
            any::<bool>(),
            below.clone(),
            below,
        )
            .prop_map(
                move |(column, mode, threshold, missing, holds, not)| Node::Branch {
                    column,
                    mode,
                    threshold,
                    missing_holds: missing && !plain,
                    to: Box::new([holds, not]),
                },
            )
    })
}

fn agrees(roots: &[Node], outputs: usize, aggregate: Aggregate, rows: &[Vec<f64>]) {
    let forest = Forest::new(roots, outputs, aggregate);
    let flat: Vec<f64> = rows.iter().flatten().copied().collect();
    let mut sums = vec![0.0; rows.len() * outputs];
    forest.run(&flat, COLUMNS, &mut sums);
    for (row, sums) in rows.iter().zip(sums.chunks(outputs)) {
        let all: Vec<Vec<f32>> = roots.iter().map(|root| naive(root, row)).collect();
        for (output, sum) in sums.iter().enumerate() {
            let values = all.iter().map(|values| values[output]);
            let expected = match aggregate {
                Aggregate::Sum => values.sum(),
                Aggregate::Min => values.fold(f32::INFINITY, f32::min),
                Aggregate::Max => values.fold(f32::NEG_INFINITY, f32::max),
            };
            assert_eq!(*sum, expected, "row {row:?}");
        }
    }
}

fn case() -> impl Strategy<Value = (Vec<Node>, usize, Vec<Vec<f64>>)> {
    (
        1usize..4,
        any::<bool>(),
        prop::sample::select(vec![16u32, 60, 200, 600]),
    )
        .prop_flat_map(|(outputs, plain, size)| {
            let trees = prop::collection::vec(tree(outputs, plain, size), 1..6);
            let row = prop::collection::vec(number(), COLUMNS);
            (trees, Just(outputs), prop::collection::vec(row, 1..60))
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_row_ends_in_the_leaf_of_a_naive_walk((roots, outputs, rows) in case()) {
        for aggregate in [Aggregate::Sum, Aggregate::Min, Aggregate::Max] {
            agrees(&roots, outputs, aggregate, &rows);
        }
    }
}

/// A chain of `leaves` leaves: leaf i is reached when `x > i - 1` and `x <= i`.
fn chain(leaves: u32) -> Node {
    let mut root = Node::Leaf(vec![leaves as f32]);
    for at in (1..leaves).rev() {
        root = Node::Branch {
            column: 0,
            mode: Mode::Leq,
            threshold: f64::from(at),
            missing_holds: false,
            to: Box::new([Node::Leaf(vec![at as f32]), root]),
        };
    }
    root
}

#[test]
fn trees_of_every_size_around_the_widths_of_the_masks() {
    for leaves in [1, 2, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64, 65, 200, 1_500] {
        let rows = (0..=leaves).map(|x| vec![f64::from(x), 0.0, 0.0]);
        agrees(
            &[chain(leaves)],
            1,
            Aggregate::Sum,
            &rows.collect::<Vec<_>>(),
        );
    }
}

#[test]
fn as_many_thresholds_as_ranks_and_more() {
    // Trees of one comparison each, so that only the number of thresholds grows.
    for thresholds in [254, 255, 256, 300, 65_535, 65_536] {
        let stump = |at: u32| Node::Branch {
            column: 1,
            mode: Mode::Lt,
            threshold: f64::from(at),
            missing_holds: false,
            to: Box::new([Node::Leaf(vec![1.0]), Node::Leaf(vec![0.0])]),
        };
        let roots: Vec<Node> = (0..thresholds).map(stump).collect();
        let ends = [-1, 0, 1, 128, 253, 254, 255, 256, 65_534, 65_535, 65_536];
        let numbers = ends.map(f64::from).into_iter().chain([f64::NAN]);
        let rows: Vec<Vec<f64>> = numbers.map(|x| vec![0.0, x, 0.0]).collect();
        agrees(&roots, 1, Aggregate::Sum, &rows);
    }
}

#[test]
fn branches_that_meet_again_and_again_are_refused() {
    // Both sides of each of 60 nodes lead to the next: 2^60 leaves.
    let ids: Vec<i64> = (0..61).collect();
    let next: Vec<i64> = (1..62).collect();
    let zeros = [0; 61];
    let modes = (0..61).map(|at| if at == 60 { "LEAF" } else { "BRANCH_LEQ" });
    let parts = Parts {
        tree_ids: &zeros,
        node_ids: &ids,
        feature_ids: &zeros,
        values: vec![0.0; 61],
        modes: modes.collect(),
        true_ids: &next,
        false_ids: &next,
        ..Parts::default()
    };
    let error = grow(&parts, 1).unwrap_err().to_string();
    assert!(error.contains("branches meet again"), "{error}");
}

#[test]
fn sums_have_one_order_however_many_rows_there_are() {
    // Small and large trees by turns, whose values lose different digits in different orders.
    let leaf = |at: usize| Node::Leaf(vec![[1e8, 1.0, -1e8, 0.3][at % 4]]);
    let roots: Vec<Node> = (0..40)
        .map(|at| if at % 2 == 0 { leaf(at / 2) } else { chain(70) })
        .collect();
    let forest = Forest::new(&roots, 1, Aggregate::Sum);
    let sums = |rows: usize| {
        let mut sums = vec![0.0; rows];
        forest.run(&vec![1.5; rows * COLUMNS], COLUMNS, &mut sums);
        sums
    };
    let alone = sums(1)[0];
    for rows in [2, 4, 5, 31, 32, 33, 256, 300] {
        assert_eq!(sums(rows), vec![alone; rows], "{rows} rows");
    }
}
