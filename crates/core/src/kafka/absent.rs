//! Assigned partitions that the topic does not have: it was deleted and created again with fewer.

use super::{Consumer, numbers};
use anyhow::Context as _;
use rdkafka::consumer::Consumer as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shortest pause between two joins: the member that assigns may not know the new topic yet.
const BETWEEN: Duration = Duration::from_secs(5);

/// The last join of a member that was assigned such partitions: its time, and the partitions.
#[derive(Default)]
pub(super) struct Absent(Mutex<Option<(Instant, Vec<i32>)>>);

/// The answer to partitions that the topic does not have.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The member has joined the group just now.
    Wait,
    /// Join the group again, and say so.
    Tell,
    /// Join the group again: the same was said before.
    Repeat,
}

impl Absent {
    fn answer(&self, partitions: &[i32], now: Instant) -> Answer {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match &*last {
            Some((joined, _)) if now < *joined + BETWEEN => return Answer::Wait,
            Some((_, told)) if told == partitions => Answer::Repeat,
            _ => Answer::Tell,
        };
        *last = Some((now, partitions.to_vec()));
        answer
    }
}

impl Consumer {
    /// Gives up assigned partitions that the topic does not have: leaves the group and joins it again, so that the group
    /// assigns the partitions of the topic as it is now. The group revokes all partitions first. Does nothing within 5 s
    /// of the last call that did.
    pub fn give_up(&self, absent: &[i32]) -> anyhow::Result<()> {
        match self.absent.answer(absent, Instant::now()) {
            Answer::Wait => return Ok(()),
            Answer::Tell => tracing::warn!(
                partitions = numbers(absent),
                "the topic does not have these partitions: it was made anew with fewer; joining the group anew"
            ),
            Answer::Repeat => {}
        }
        self.base.unsubscribe();
        let joined = self.base.subscribe(&[&self.topic]);
        joined.with_context(|| format!("subscribing to {}", self.topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_joins_anew_now_and_then_and_says_so_once() {
        let (absent, start) = (Absent::default(), Instant::now());
        for (seconds, partitions, expected) in [
            (0, &[1, 2][..], Answer::Tell),
            (4, &[1, 2], Answer::Wait),
            (5, &[1, 2], Answer::Repeat),
            (9, &[2], Answer::Wait),
            (10, &[2], Answer::Tell),
            (16, &[2], Answer::Repeat),
        ] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(absent.answer(partitions, now), expected, "{seconds} s");
        }
    }
}
