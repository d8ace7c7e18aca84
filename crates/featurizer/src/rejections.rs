//! Rejected records, told in one line for each reason instead of one for each record.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidemill_core::record::Reject;

/// The pause between two tellings.
const PAUSE: Duration = Duration::from_secs(60);

/// What was rejected since it was told last.
#[derive(Debug, Default)]
pub(crate) struct Rejections {
    read: usize,
    by_reason: BTreeMap<&'static str, Rejection>,
    told: Option<Instant>,
}

/// The rejects of one reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// How many records.
    pub(crate) records: usize,
    /// What was wrong with the first of them.
    pub(crate) example: String,
}

impl Rejections {
    /// A record was read.
    pub(crate) fn read(&mut self) {
        self.read += 1;
    }

    /// A record was rejected, and its dead letter written.
    pub(crate) fn add(&mut self, reject: Reject) {
        let own = self.by_reason.entry(reject.reason.code());
        let own = own.or_insert(Rejection {
            records: 0,
            example: reject.error,
        });
        own.records += 1;
    }

    /// What is to be told now: the first rejects at once, the others together, with the number of records read; nothing
    /// where nothing was rejected.
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
