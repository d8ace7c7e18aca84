//! What others do to the topic and the group, watched on a thread of its own: a topic that is made anew under the same
//! name, and members of the group that write elsewhere.

use crate::setback::Setback;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tidemill_core::exit::Failure;
use tidemill_core::kafka::Consumer;
use tokio_util::sync::CancellationToken;

/// The pause between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// The time that an answer may take.
const ANSWER: Duration = Duration::from_secs(2);

/// What was seen, as one worker has noticed. Clones notice on their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    seen: Arc<Seen>,
    noticed: u64,
}

#[derive(Debug, Default)]
struct Seen {
    /// How often the topic was made anew.
    times: AtomicU64,
    /// The destination of a member of the group that differs from ours.
    elsewhere: OnceLock<String>,
}

impl Surroundings {
    /// Tells if something has changed that a worker has to answer.
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

    /// Watches the topic and the group of `consumer`, which is no member, until `shutdown`. `writes_to` is the
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
                // Others tell of an outage, and a topic that is gone may come back.
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
                    // The first stays: the process ends with it.
                    seen.elsewhere.set(elsewhere).ok();
                }
            }
        };
        let thread = std::thread::Builder::new().name("surroundings".into());
        thread.spawn(watch).map(drop)
    }
}

/// The destination that another member of the group has committed, where it is not `own`.
pub(crate) fn elsewhere(consumer: &Consumer, own: &str) -> anyhow::Result<Option<String>> {
    let partitions: Vec<i32> = (0..consumer.partition_count()?).collect();
    consumer.others_write_to(&partitions, own, ANSWER)
}

/// A member that writes elsewhere takes a part of the partitions, which our destination then lacks.
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
