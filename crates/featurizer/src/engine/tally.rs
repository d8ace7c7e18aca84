//! Counts of an engine's work, for the metrics.

use std::time::Duration;

/// Counts since the metrics were last updated.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Records applied, rejected ones included.
    pub(crate) records: usize,
    /// Users written.
    pub(crate) users: usize,
    /// Windows stored, as wholes or additions.
    pub(crate) windows: usize,
    /// Transactions applied.
    pub(crate) transactions: usize,
    /// Users that came in another partition than before.
    pub(crate) adopted: u64,
    /// Users read.
    pub(crate) loads: usize,
    /// Commands on hashes that Redis refused; `error` is the first error among them.
    pub(crate) refused: usize,
    pub(crate) error: Option<String>,
    /// Times from the oldest record of each batch until it was applied (ms).
    pub(crate) fresh: Vec<i64>,
    /// Times for loading, applying and writing each transaction.
    pub(crate) stages: Vec<[Duration; 3]>,
    oldest: Option<i64>,
}

impl Tally {
    /// Counts a transaction that was sent.
    pub(super) fn transaction(&mut self, users: usize, adopted: u64) {
        self.transactions += 1;
        self.users += users;
        self.adopted += adopted;
    }

    /// Counts a batch whose last transaction was sent.
    pub(super) fn batch(&mut self, records: usize, oldest: Option<i64>) {
        self.records += records;
        self.oldest = oldest;
    }

    /// Counts users that are read.
    pub(super) fn loaded(&mut self, users: usize) {
        self.loads += users;
    }

    /// Adds the times of a transaction: loading, applying, and sending, which waits for the one before it.
    pub(super) fn took(&mut self, load: Duration, apply: Duration, write: Duration) {
        self.stages.push([load, apply, write]);
    }

    /// Adds the counts of `sent`, which were applied at `now` (epoch ms).
    pub(super) fn applied(&mut self, sent: Self, now: i64, refused: usize, error: Option<String>) {
        self.records += sent.records;
        self.users += sent.users;
        self.windows += sent.windows;
        self.transactions += sent.transactions;
        self.adopted += sent.adopted;
        self.refused += refused;
        self.error = self.error.take().or(error);
        self.fresh
            .extend(sent.oldest.map(|oldest| (now - oldest).max(0)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_counts_when_it_was_applied() {
        let (mut tally, mut sent) = (Tally::default(), Tally::default());
        sent.transaction(400, 1);
        tally.applied(std::mem::take(&mut sent), 0, 0, None);
        sent.transaction(3, 0);
        sent.batch(70, Some(900));
        tally.applied(sent, 1_000, 2, Some("WRONGTYPE".into()));
        tally.applied(Tally::default(), 2_000, 1, Some("another".into()));
        assert_eq!(
            (tally.records, tally.users, tally.transactions),
            (70, 403, 2)
        );
        assert_eq!(
            (tally.adopted, tally.refused, tally.fresh),
            (1, 3, vec![100])
        );
        assert_eq!(tally.error.as_deref(), Some("WRONGTYPE"));
    }
}
