//! The sample of a live run that has no schema yet, and the rule when it is enough to freeze one.

use crate::encode::schema::Sample;
use std::time::{Duration, Instant};
use tidemill_core::record::Reject;

/// Pause between two looks for a schema that a peer may have frozen.
const LOOK: Duration = Duration::from_secs(5);

/// Pause after a failed attempt.
const AGAIN: Duration = Duration::from_secs(1);

/// The least sample of a live run: so many usable records, or a tenth of them once the first came so long ago. Nothing is
/// inferred from fewer: a record or two say little of those to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Enough {
    /// `--schema-records`.
    pub(crate) records: usize,
    /// `--schema-wait`.
    pub(crate) wait: Duration,
}

impl Default for Enough {
    fn default() -> Self {
        Self {
            records: 1_000,
            wait: Duration::from_secs(30),
        }
    }
}

impl Enough {
    /// So many records are enough after the wait.
    fn least(self) -> usize {
        self.records.div_ceil(10)
    }

    /// So many records are enough, the first of which came so long ago.
    fn is_reached(self, records: usize, waited: Duration) -> bool {
        records >= self.records || (waited >= self.wait && records >= self.least())
    }
}

/// The sample so far.
pub(super) struct Sampling {
    sample: Sample,
    /// The times of the first record and of the first usable one.
    since: Option<Instant>,
    usable_since: Option<Instant>,
    /// The reason of the first unusable record.
    unusable: Option<Reject>,
    /// The next look for a peer's schema.
    look: Instant,
    /// The next attempt after a failed one.
    again: Instant,
    told: bool,
}

impl Sampling {
    /// No record yet.
    pub(super) fn new() -> Self {
        Self {
            sample: Sample::default(),
            since: None,
            usable_since: None,
            unusable: None,
            look: Instant::now(),
            again: Instant::now(),
            told: false,
        }
    }

    /// Takes a record's content into account.
    pub(super) fn observe(&mut self, content: Result<Option<&[u8]>, Reject>) {
        self.since.get_or_insert_with(Instant::now);
        match content.and_then(|value| self.sample.observe(value)) {
            Ok(()) => {
                self.usable_since.get_or_insert_with(Instant::now);
            }
            Err(reject) => {
                self.unusable.get_or_insert(reject);
            }
        }
    }

    /// The sample, if it is enough.
    pub(super) fn enough(&self, enough: Enough) -> Option<&Sample> {
        let reached = enough.is_reached(self.sample.records(), passed(self.usable_since));
        reached.then_some(&self.sample)
    }

    /// It is time to freeze, or to look whether a peer has.
    pub(super) fn is_due(&mut self, enough: Enough) -> bool {
        let now = Instant::now();
        let due = now >= self.look || (now >= self.again && self.enough(enough).is_some());
        if due {
            (self.again, self.look) = (now + AGAIN, now + LOOK);
        }
        due
    }

    /// Logs once why there is no file.
    pub(super) fn tell(&mut self, enough: Enough) {
        if self.told || self.since.is_none() || passed(self.since) < enough.wait {
            return;
        }
        self.told = true;
        let usable = self.sample.records();
        let unusable = self.unusable.as_ref();
        tracing::warn!(
            usable,
            first_unusable = unusable.map(|reject| reject.error.as_str()),
            "too few usable records to infer a schema from: nothing is written before there are {}, or {} for {:?}, and \
             all of them are read again then; or give --schema",
            enough.records,
            enough.least(),
            enough.wait
        );
    }
}

/// The time since then; zero if nothing came yet.
fn passed(since: Option<Instant>) -> Duration {
    since.map(|since| since.elapsed()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_inferred_from_too_little() {
        let enough = Enough::default();
        for (records, seconds, expected) in [
            (0, 0, false),
            (0, 3_600, false),
            (1, 3_600, false),
            (99, 3_600, false),
            (100, 29, false),
            (100, 30, true),
            (999, 29, false),
            (1_000, 0, true),
        ] {
            let waited = Duration::from_secs(seconds);
            assert_eq!(
                enough.is_reached(records, waited),
                expected,
                "{records} {seconds}"
            );
        }
        let one = Enough {
            records: 1,
            ..enough
        };
        assert!(one.is_reached(1, Duration::ZERO) && !one.is_reached(0, enough.wait));
    }
}
