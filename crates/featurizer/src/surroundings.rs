//! Watches, on a thread of its own, what others do to the topic and the group: a re-creation of the topic, and members
//! of the group that write elsewhere.

use crate::setback::Setback;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tidemill_core::exit::Failure;
use tidemill_core::kafka::Consumer;
use tokio_util::sync::CancellationToken;

/// Pause between two checks.
const EVERY: Duration = Duration::from_secs(2);
/// Time limit for the answer with the group's commits.
const ANSWER: Duration = Duration::from_secs(2);

/// The observations, and those that one worker has handled. Each clone handles them on its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    seen: Arc<Seen>,
    noticed: u64,
}

#[derive(Debug, Default)]
struct Seen {
    /// Number of times the topic was re-created.
    times: AtomicU64,
    /// The destination of a group member, if it differs from ours.
    elsewhere: OnceLock<String>,
}

impl Surroundings {
    /// Fails with a setback if a worker has to react to a change.
    pub(crate) fn look(&mut self) -> Result<(), Setback> {
        if let Some(elsewhere) = self.seen.elsewhere.get() {
            return Err(Setback::Fatal(other_destination(elsewhere)));
        }
        let times = self.seen.times.load(Ordering::Relaxed);
        match std::mem::replace(&mut self.noticed, times) == times {
            true => Ok(()),
            false => Err(Setback::TopicMadeAnew),
        }
    }

    /// Watches the topic and the group of `consumer`, which is not a member, until `shutdown`. `writes_to` is the
    /// destination of our members; `None` accepts any.
    pub(crate) fn watch(
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
                    && let Ok(Some(elsewhere)) = elsewhere(&consumer, own)
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

/// The destination that another member of the group has committed, if it is not `own`.
pub(crate) fn elsewhere(consumer: &Consumer, own: &str) -> anyhow::Result<Option<String>> {
    let partitions: Vec<i32> = (0..consumer.partition_count()?).collect();
    consumer.others_write_to(&partitions, own, ANSWER)
}

/// The error for a member that writes elsewhere: our destination lacks the partitions that it takes.
pub(crate) fn other_destination(elsewhere: &str) -> anyhow::Error {
    Failure::usage(format!(
        "a member of --group writes to another place ({elsewhere}), and each place would get only a part of the \
         partitions: use another --group, or --takeover if that member is gone for good"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_notices_each_time_once() {
        let surroundings = Surroundings::default();
        let (mut one, mut other) = (surroundings.clone(), surroundings.clone());
        assert!(one.look().is_ok());
        surroundings.seen.times.fetch_add(1, Ordering::Relaxed);
        assert!(matches!(one.look(), Err(Setback::TopicMadeAnew)) && one.look().is_ok());
        assert!(matches!(other.look(), Err(Setback::TopicMadeAnew)));
    }

    #[test]
    fn a_member_that_writes_elsewhere_ends_every_worker() {
        let mut surroundings = Surroundings::default();
        surroundings
            .seen
            .elsewhere
            .set("key prefix \"b\"".into())
            .unwrap();
        let Err(Setback::Fatal(error)) = surroundings.look() else {
            panic!("it must end");
        };
        assert!(error.to_string().contains("key prefix \"b\""), "{error}");
    }
}
