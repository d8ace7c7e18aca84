//! The times as of which the events' topic tells everything that a feature counts.

use crate::dataset::offset::Offset;
use std::ops::Range;

/// The events that the part of a topic which was read is known to hold.
#[derive(Debug)]
pub(super) struct Known {
    /// Every record of these Kafka times, in milliseconds, was retained and read.
    times: Range<i64>,
    /// Retention has deleted the first records of the partition that is being read, and its oldest record's time was
    /// not met yet.
    cut: bool,
}

impl Known {
    /// Everything before `to`, or everything at all: no partition was read yet.
    pub(super) fn before(to: Option<i64>) -> Self {
        Self {
            times: i64::MIN..to.unwrap_or(i64::MAX),
            cut: false,
        }
    }

    /// Begins with a partition whose log begins at `first`. A log that begins at 0 has lost nothing, however late its
    /// first record was written.
    pub(super) fn begin(&mut self, first: Offset) {
        self.cut = first > Offset::default();
    }

    /// The time of the partition's oldest record is still asked for.
    pub(super) fn is_open(&self) -> bool {
        self.cut
    }

    /// Takes the Kafka time of the partition's next record: that of the oldest one bounds what is known.
    pub(super) fn record(&mut self, time: Option<i64>) {
        if self.cut
            && let Some(time) = time
        {
            self.times.start = self.times.start.max(time);
            self.cut = false;
        }
    }

    /// A record of this Kafka time counts. Wherever it lies: Kafka times need not ascend.
    pub(super) fn takes(&self, time: Option<i64>) -> bool {
        time.is_none_or(|time| time < self.times.end)
    }

    /// Ends the partition. One that has lost records and holds none could have lost any.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.cut) {
            self.times.start = i64::MAX;
        }
    }

    /// A feature of this window, in milliseconds, can be known as of a time.
    pub(super) fn covers(&self, as_of: i64, window_ms: i64) -> bool {
        as_of.saturating_sub(window_ms) >= self.times.start && as_of < self.times.end
    }
}

#[cfg(test)]
mod tests {
    use super::Known;

    /// Knowledge of partitions, given for each the first offset of its log and the times of its records.
    fn known(to: Option<i64>, partitions: &[(i64, &[Option<i64>])]) -> Known {
        let mut known = Known::before(to);
        for (first, times) in partitions {
            known.begin((*first).into());
            times.iter().for_each(|time| known.record(*time));
            known.end();
        }
        known
    }

    #[test]
    fn nothing_is_known_before_the_oldest_record_nor_after_the_last_that_was_read() {
        let (whole, cut): (&[_], &[_]) = (&[Some(500), Some(600)], &[Some(100), Some(90)]);
        for (to, partitions, as_of, expected, why) in [
            (None, &[(0, whole)][..], 0, true, "nothing was deleted"),
            (None, &[(0, &[][..])], 0, true, "nothing was written"),
            (None, &[(0, whole), (5, cut)], 109, false, "a window of 10"),
            (None, &[(0, whole), (5, cut)], 110, true, "a window of 10"),
            (
                None,
                &[(5, cut), (5, whole)],
                509,
                false,
                "the latest counts",
            ),
            (None, &[(5, whole), (5, cut)], 509, false, "in any order"),
            (
                None,
                &[(5, &[][..])],
                i64::MAX - 1,
                false,
                "all was deleted",
            ),
            (None, &[(5, &[None, Some(7)][..])], 17, true, "no time"),
            (
                None,
                &[(5, &[None][..])],
                i64::MAX - 1,
                false,
                "no time at all",
            ),
            (Some(700), &[(0, whole)], 699, true, "read until 700"),
            (Some(700), &[(0, whole)], 700, false, "not read"),
            (Some(300), &[(5, whole)], 299, false, "deleted before --to"),
        ] {
            assert_eq!(known(to, partitions).covers(as_of, 10), expected, "{why}");
        }
        assert!(known(None, &[(5, cut)]).covers(100, 0));
    }

    #[test]
    fn records_count_by_their_kafka_time_wherever_they_lie() {
        let takes =
            |to| [None, Some(699), Some(700), Some(3)].map(|time| known(to, &[]).takes(time));
        assert_eq!(takes(Some(700)), [true, true, false, true]);
        assert_eq!(takes(None), [true; 4]);
    }
}
