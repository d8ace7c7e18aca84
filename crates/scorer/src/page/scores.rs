//! The distribution of the last ten minutes' scores, in hundredths, and so the alerts that any threshold would have made.

use std::collections::VecDeque;

use serde::Serialize;

/// Steps of a score from 0 to 1.
const STEPS: usize = 100;

/// A slice of time, and the number of them that is kept.
const SLICE_MS: i64 = 10_000;
const SLICES: i64 = 60;

/// Scores by hundredths: the first place has those up to 0, place `k` those above `(k - 1) / 100` and up to `k / 100`,
/// the last those above 1. So the scores above `k / 100` are those of the places after `k`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Counts([u32; STEPS + 2]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; STEPS + 2])
    }
}

impl Counts {
    /// Counts a score.
    pub(crate) fn count(&mut self, score: f64) {
        self.0[place(score)] += 1;
    }
}

fn place(score: f64) -> usize {
    let steps = STEPS as f64;
    // Clamped, and a score that is no number lies nowhere else than at 0. The product may be rounded past a whole number,
    // in either direction: the comparison puts that right.
    let whole = (score * steps).clamp(0.0, steps) as usize;
    whole + usize::from(score > whole as f64 / steps)
}

/// The counts of the last ten minutes, by slices of ten seconds.
#[derive(Debug, Default)]
pub(super) struct Scores {
    slices: VecDeque<(i64, Counts)>,
    began: Option<i64>,
}

/// The distribution over a stretch of time.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Distribution {
    /// By place.
    counts: Vec<u64>,
    /// Length of the stretch in seconds.
    seconds: f64,
}

impl Scores {
    /// Adds the scores of a batch that was committed at `now` (epoch ms).
    pub(super) fn add(&mut self, now: i64, counts: &Counts) {
        let slice = now.div_euclid(SLICE_MS);
        self.began.get_or_insert(now);
        match self.slices.back_mut() {
            // A clock that was set back goes on in the newest slice.
            Some((newest, sum)) if slice <= *newest => {
                for (sum, count) in sum.0.iter_mut().zip(counts.0) {
                    *sum = sum.saturating_add(count);
                }
            }
            _ => self.slices.push_back((slice, counts.clone())),
        }
        while self
            .slices
            .front()
            .is_some_and(|(oldest, _)| *oldest <= slice - SLICES)
        {
            self.slices.pop_front();
        }
    }

    /// The distribution of the ten minutes up to `now` (epoch ms).
    pub(super) fn since(&self, now: i64) -> Distribution {
        let first = now.div_euclid(SLICE_MS) - SLICES + 1;
        let mut counts = vec![0; STEPS + 2];
        for (_, slice) in self.slices.iter().filter(|(slice, _)| *slice >= first) {
            for (sum, count) in counts.iter_mut().zip(slice.0) {
                *sum += u64::from(count);
            }
        }
        let begin = (first * SLICE_MS).max(self.began.unwrap_or(now));
        Distribution {
            counts,
            seconds: (now - begin).max(0) as f64 / 1000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(scores: &[f64]) -> Counts {
        let mut counts = Counts::default();
        scores.iter().for_each(|score| counts.count(*score));
        counts
    }

    /// The scores above so many hundredths.
    fn above(distribution: &Distribution, hundredths: usize) -> u64 {
        distribution.counts[hundredths + 1..].iter().sum()
    }

    #[test]
    fn ten_minutes_are_kept() {
        let mut scores = Scores::default();
        let minute = 60_000;
        scores.add(minute, &counts(&[0.9, 0.1]));
        scores.add(minute + 1, &counts(&[0.9]));
        let soon = scores.since(minute + 30_000);
        assert_eq!((above(&soon, 85), soon.seconds), (2, 30.0));
        scores.add(6 * minute, &counts(&[0.86]));
        assert_eq!(above(&scores.since(6 * minute), 85), 3);
        let later = scores.since(11 * minute);
        assert_eq!((above(&later, 85), later.seconds), (1, 590.0));
        scores.add(30 * minute, &counts(&[0.2]));
        assert_eq!(scores.slices.len(), 1);
        let empty = Scores::default().since(minute);
        assert_eq!((empty.counts.iter().sum::<u64>(), empty.seconds), (0, 0.0));
    }

    proptest! {
        #[test]
        fn what_lies_above_a_threshold_is_counted_above_it(scores in prop::collection::vec(-0.5_f64..1.5, 0..50), whole in prop::collection::vec(0_u32..=100, 0..50)) {
            let whole = whole.into_iter().map(|hundredths| f64::from(hundredths) / 100.0);
            let all: Vec<f64> = scores.into_iter().chain(whole).collect();
            let mut kept = Scores::default();
            kept.add(0, &counts(&all));
            let distribution = kept.since(0);
            for hundredths in 0..=100 {
                let threshold = hundredths as f64 / 100.0;
                let expected = all.iter().filter(|score| **score > threshold).count() as u64;
                prop_assert_eq!(above(&distribution, hundredths), expected, "{}", threshold);
            }
        }
    }
}
