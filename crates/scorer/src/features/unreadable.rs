//! Users whose keys hold something else than features: each gets defaults, and a log line now and then.

use std::time::{Duration, Instant};

/// Shortest pause between two warnings.
const BETWEEN: Duration = Duration::from_secs(60);

/// The reads that Redis has refused for the sake of one key, since the last warning.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    reads: u64,
    told: Option<Instant>,
}

impl Unreadable {
    /// Notes a read of this key, and warns if the last warning is a minute old.
    pub(super) fn note(&mut self, key: &str, error: &str) {
        metrics::counter!("tidemill_unreadable_users_total").increment(1);
        if let Some(reads) = self.count(Instant::now()) {
            tracing::warn!(
                key,
                reads,
                "a user's key holds no features, and default ones are used: {error}; remove the key, or use another \
                 --key-prefix if another program keeps it"
            );
        }
    }

    /// Counts a read; the number of reads since the last warning if one is due.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.reads += 1;
        if self.told.is_some_and(|told| now < told + BETWEEN) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.reads))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_told_once_a_minute_with_their_number() {
        let (mut unreadable, start) = (Unreadable::default(), Instant::now());
        for (seconds, told) in [
            (0, Some(1)),
            (1, None),
            (59, None),
            (60, Some(3)),
            (61, None),
        ] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(unreadable.count(now), told, "{seconds} s");
        }
    }
}
