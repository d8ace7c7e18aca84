//! Numbers as ranks among the thresholds that they are compared with: small integers, of which many
//! are compared at once.

use std::fmt::Debug;
use std::hint::select_unpredictable;
use std::ops::{BitAnd, BitOrAssign, Not};

use super::bits::{Block, ROWS};
use super::compare::Split;

/// An integer that is a rank, or a set of leaves.
pub(super) trait Lane:
    Copy
    + Debug
    + Default
    + PartialEq
    + PartialOrd
    + Send
    + Sync
    + BitAnd<Output = Self>
    + BitOrAssign
    + Not<Output = Self>
    + 'static
{
    /// Its bits, each a leaf.
    const BITS: usize;
    /// All leaves.
    const ALL: Self;
    /// The most thresholds that a column may have.
    const THRESHOLDS: usize;
    /// A rank from 0 to `THRESHOLDS`.
    fn rank(rank: usize) -> Self;
    /// The leaves of `range`.
    fn leaves(range: std::ops::Range<usize>) -> Self;
    /// The set where `holds`, else none.
    fn when(self, holds: bool) -> Self;
    /// The number of the lowest leaves that are in the set.
    fn lowest(self) -> u8;
}

macro_rules! lane {
    ($type:ty) => {
        impl Lane for $type {
            const BITS: usize = <$type>::BITS as usize;
            const ALL: Self = -1;
            const THRESHOLDS: usize = (1 << <$type>::BITS) - 1;
            fn rank(rank: usize) -> Self {
                // From the least number on: vector units compare signed ones faster.
                <$type>::MIN.wrapping_add(rank as $type)
            }
            fn leaves(range: std::ops::Range<usize>) -> Self {
                range.fold(0, |set, leaf| set | (1 << leaf))
            }
            #[inline(always)]
            fn when(self, holds: bool) -> Self {
                self & <$type>::from(holds).wrapping_neg()
            }
            #[inline(always)]
            fn lowest(self) -> u8 {
                (self & !self.wrapping_add(1)).count_ones() as u8
            }
        }
    };
}

lane!(i8);
lane!(i16);

/// The thresholds of each column, ascending.
#[derive(Debug)]
pub(super) struct Ranks(Vec<Vec<f64>>);

impl Ranks {
    /// The ranks of `trees`, which compare `columns` columns.
    pub(super) fn new(trees: &[Split], columns: usize) -> Self {
        let mut found = vec![Vec::new(); columns];
        for tree in trees {
            collect(tree, &mut found);
        }
        for thresholds in &mut found {
            thresholds.sort_by(f64::total_cmp);
            thresholds.dedup();
            // To one less than a power of two, by thresholds that no number exceeds.
            let full = (thresholds.len() + 1).next_power_of_two() - 1;
            thresholds.resize(full, f64::INFINITY);
        }
        Ranks(found)
    }

    /// The most thresholds that a column has.
    pub(super) fn most(&self) -> usize {
        self.0.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The rank of each of `numbers`: how many of the column's thresholds it exceeds. Not a number
    /// ranks above all.
    pub(super) fn rank<L: Lane>(&self, column: usize, numbers: Block<f64>) -> Block<L> {
        let thresholds = &self.0[column];
        let mut ranks = [0; ROWS];
        // All searches go in step, so that none waits for its own loads.
        let mut step = thresholds.len().div_ceil(2);
        while step > 0 {
            for (rank, number) in ranks.iter_mut().zip(numbers) {
                let threshold = thresholds[*rank + step - 1];
                *rank += select_unpredictable(exceeds(number, threshold), step, 0);
            }
            step /= 2;
        }
        ranks.map(L::rank)
    }

    /// The rank of a threshold: what is at most the threshold ranks at most so.
    pub(super) fn of_threshold(&self, column: usize, threshold: f64) -> usize {
        self.0[column].partition_point(|other| *other < threshold)
    }
}

/// Not a number exceeds every threshold, which is why this is not `>`.
#[allow(clippy::neg_cmp_op_on_partial_ord)]
#[inline(always)]
fn exceeds(number: f64, threshold: f64) -> bool {
    !(number <= threshold)
}

fn collect(tree: &Split, found: &mut [Vec<f64>]) {
    if let Split::Branch {
        column,
        threshold,
        to,
    } = tree
    {
        found[*column].push(*threshold);
        to.iter().for_each(|below| collect(below, found));
    }
}
