//! Watches, on a thread of its own, what others do to the topic and the group: a re-creation of the topic, and members
//! of the group that write elsewhere.

use super::Consumer;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Pause between two checks.
const EVERY: Duration = Duration::from_secs(2);

/// The observations, and those that one worker has handled. Each clone handles them on its own.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    seen: Arc<Seen>,
    noticed: u64,
}

/// A change that a worker has to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The topic was deleted and created again: the worker's positions mean nothing any more.
    TopicMadeAnew,
    /// A member of the group writes to another place, which is named: each place would get only a part of the
    /// partitions.
    OtherDestination(String),
}

#[derive(Debug, Default)]
struct Seen {
    /// Number of times the topic was re-created.
    times: AtomicU64,
    /// The destination of a group member, if it differs from ours.
    elsewhere: OnceLock<String>,
}

impl Surroundings {
    /// The change since the last call: a re-created topic once, another destination each time.
    pub fn look(&mut self) -> Option<Change> {
        if let Some(elsewhere) = self.seen.elsewhere.get() {
            return Some(Change::OtherDestination(elsewhere.clone()));
        }
        let times = self.seen.times.load(Ordering::Relaxed);
        let before = std::mem::replace(&mut self.noticed, times);
        (before != times).then_some(Change::TopicMadeAnew)
    }

    /// Watches the topic and the group of `consumer`, which is not a member, until `shutdown`. `writes_to` is the
    /// destination of our members; `None` accepts any.
    pub fn watch(
        &self,
        consumer: Consumer,
        writes_to: Option<String>,
        shutdown: CancellationToken,
    ) -> std::io::Result<()> {
        let seen = self.seen.clone();
        let watch = move || {
            let mut known = None;
            let mut next = Instant::now();
            while !shutdown.is_cancelled() {
                std::thread::sleep(Duration::from_millis(100));
                if Instant::now() < next {
                    continue;
                }
                next = Instant::now() + EVERY;
                // Other parts report an outage, and a deleted topic may come back.
                if let Ok(Some(id)) = consumer.topic_id() {
                    if known.is_some_and(|known| known != id) {
                        tracing::warn!(%id, "the topic was made anew");
                        seen.times.fetch_add(1, Ordering::Relaxed);
                    }
                    known = Some(id);
                }
                if let Some(own) = &writes_to
                    && let Ok(Some(elsewhere)) = consumer.elsewhere(own)
                {
                    // Only the first is kept: the process ends because of it.
                    seen.elsewhere.set(elsewhere).ok();
                }
            }
        };
        let thread = std::thread::Builder::new().name("surroundings".into());
        thread.spawn(watch).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_notices_each_time_once() {
        let surroundings = Surroundings::default();
        let (mut one, mut other) = (surroundings.clone(), surroundings.clone());
        assert_eq!(one.look(), None);
        surroundings.seen.times.fetch_add(1, Ordering::Relaxed);
        assert_eq!(one.look(), Some(Change::TopicMadeAnew));
        assert_eq!(one.look(), None);
        assert_eq!(other.look(), Some(Change::TopicMadeAnew));
    }

    #[test]
    fn a_member_that_writes_elsewhere_is_told_for_ever() {
        let mut surroundings = Surroundings::default();
        let elsewhere = "key prefix \"b\"".to_owned();
        surroundings.seen.elsewhere.set(elsewhere.clone()).unwrap();
        for _ in 0..2 {
            let change = Change::OtherDestination(elsewhere.clone());
            assert_eq!(surroundings.look(), Some(change));
        }
    }
}
