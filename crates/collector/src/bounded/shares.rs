//! Shares the ranges of a bounded run out to its workers.

use super::stretch::Range;

/// Shares ranges out, the longest first, each to the worker that has the least so far.
pub(crate) fn deal(mut ranges: Vec<Range>, workers: usize) -> Vec<Vec<Range>> {
    ranges.sort_by_key(|range| std::cmp::Reverse(range.len()));
    let mut shares = vec![Vec::new(); workers];
    for range in ranges {
        let load = |share: &&mut Vec<Range>| share.iter().map(Range::len).sum::<u64>();
        if let Some(least) = shares.iter_mut().min_by_key(load) {
            least.push(range);
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounded::stretch;

    #[test]
    fn shares_are_even_and_complete() {
        let ranges: Vec<Range> = [10, 70, 20, 50, 40]
            .into_iter()
            .zip(0..)
            .map(|(end, partition)| stretch::tests::range(partition, end))
            .collect();
        let shares = deal(ranges, 2);
        let loads: Vec<u64> = shares
            .iter()
            .map(|share| share.iter().map(Range::len).sum())
            .collect();
        assert_eq!(loads, [100, 90]);
        assert_eq!(shares.iter().map(Vec::len).sum::<usize>(), 5);
    }
}
