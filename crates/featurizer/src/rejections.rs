//! Rejected records, logged in one line per reason instead of one per record.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidemill_core::record::Reject;

/// Pause between two reports.
const PAUSE: Duration = Duration::from_secs(60);

/// The records rejected since the last report.
#[derive(Debug, Default)]
pub(crate) struct Rejections {
    read: usize,
    by_reason: BTreeMap<&'static str, Rejection>,
    told: Option<Instant>,
}

/// The rejected records of one reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) records: usize,
    /// The error of the first of them.
    pub(crate) example: String,
}

impl Rejections {
    /// Counts a record that was read.
    pub(crate) fn read(&mut self) {
        self.read += 1;
    }

    /// Counts a rejected record, after its dead letter was written.
    pub(crate) fn add(&mut self, reject: Reject) {
        let own = self.by_reason.entry(reject.reason.code());
        let own = own.or_insert(Rejection {
            records: 0,
            example: reject.error,
        });
        own.records += 1;
    }

    /// The rejected records to log now, and the number of records read: the first at once, later ones together after a
    /// pause; empty if nothing was rejected.
    pub(crate) fn due(&mut self, now: Instant) -> (usize, BTreeMap<&'static str, Rejection>) {
        if self.told.is_some_and(|told| now - told < PAUSE) {
            return Default::default();
        }
        let all = std::mem::take(&mut self.read);
        if !self.by_reason.is_empty() {
            self.told = Some(now);
        }
        (all, std::mem::take(&mut self.by_reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_core::record::Reason;

    #[test]
    fn many_rejects_are_told_once_with_their_share() {
        let mut rejections = Rejections::default();
        let start = Instant::now();
        assert!(rejections.due(start).1.is_empty());
        (0..6).for_each(|_| rejections.read());
        rejections.add(Reject::new(Reason::MissingField, "level is missing"));
        let (all, told) = rejections.due(start);
        assert_eq!((all, told["missing_field"].records), (6, 1));
        for number in 0..30 {
            rejections.add(Reject::new(Reason::MissingField, format!("level {number}")));
        }
        (0..100).for_each(|_| rejections.read());
        assert!(rejections.due(start + PAUSE / 2).1.is_empty(), "just told");
        let (all, told) = rejections.due(start + PAUSE);
        assert_eq!(all, 100);
        assert_eq!(
            told["missing_field"],
            Rejection {
                records: 30,
                example: "level 0".into()
            }
        );
        assert!(rejections.due(start + 3 * PAUSE).1.is_empty());
    }
}
