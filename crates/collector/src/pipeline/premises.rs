//! The premises of a run: the topic is the one that it began with, and all members of the group collect into one data
//! set. A thread of its own watches them.

use crate::dataset::offset::Offset;
use crate::dataset::start::remedy;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tidemill_core::exit::Failure;
use tidemill_core::kafka::{Cluster, Consumer, TopicId};
use tidemill_core::settings::Shared;
use tokio::sync::watch;

/// Pause between two looks that nobody asks for.
const EVERY: Duration = Duration::from_secs(2);

/// Time limit for an answer.
const ANSWER: Duration = Duration::from_secs(2);

/// A finding that ends the run, once there is one. Clones share it; the watch ends with the last of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Premises(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    found: OnceLock<String>,
    /// Asks the watching thread for a look at the topic, once there is one.
    ask: OnceLock<Sender<()>>,
    /// The begin of the last look at the topic that was answered.
    looked: watch::Sender<Option<Instant>>,
}

impl Premises {
    /// Errors: the finding that ends the run.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match self.0.found.get() {
            None => Ok(()),
            Some(found) => Err(Failure::usage(found.clone())),
        }
    }

    /// Waits until the brokers have confirmed, after this call, that the topic is the one that the run began with. Records
    /// that were read before the call are of that topic then: a topic that is created again under the same name may
    /// already have records beyond our position, which offsets do not tell from ours.
    ///
    /// Errors: the finding that ends the run.
    pub(crate) async fn confirm_topic(&self) -> anyhow::Result<()> {
        if let Some(ask) = self.0.ask.get() {
            let since = Instant::now();
            let mut looked = self.0.looked.subscribe();
            ask.send(()).ok();
            let confirmed = looked.wait_for(|at| at.is_some_and(|at| at >= since));
            confirmed.await.ok();
        }
        self.check()
    }

    /// Watches the topic and the group of `consumer`, which is no member. `topic` is the topic's id as the run began, and
    /// `writes_to` the data set of our members; `None` accepts any.
    pub(crate) fn watch(
        &self,
        consumer: Consumer,
        topic: Option<TopicId>,
        writes_to: Option<String>,
    ) -> std::io::Result<()> {
        let (ask, asked) = channel();
        self.0.ask.set(ask).ok();
        let seen = Arc::downgrade(&self.0);
        let watch = move || {
            let mut next = Instant::now();
            loop {
                let wait = next.saturating_duration_since(Instant::now());
                if asked.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
                // One look answers all that were asked for before it.
                while asked.try_recv().is_ok() {}
                let Some(seen) = seen.upgrade() else {
                    return;
                };
                let begun = Instant::now();
                // Other parts report an outage.
                let answer = made_anew(&consumer, topic);
                let answered = answer.is_ok();
                let mut found = answer.ok().flatten();
                if begun >= next {
                    next = begun + EVERY;
                    let own = writes_to.as_deref();
                    found = found.or_else(|| in_another_data_set(&consumer, own?));
                }
                if let Some(found) = found {
                    seen.found.set(found).ok();
                }
                if answered {
                    seen.looked.send_replace(Some(begun));
                }
            }
        };
        let thread = std::thread::Builder::new().name("premises".into());
        thread.spawn(watch).map(drop)
    }
}

/// The finding that the topic was deleted and created again.
fn made_anew(consumer: &Consumer, topic: Option<TopicId>) -> anyhow::Result<Option<String>> {
    let Some(known) = topic else {
        return Ok(None);
    };
    let found = consumer.created_again(known)?.map(|id| {
        let name = consumer.topic();
        remedy(&format!(
            "topic {name} was deleted and created again (id {known} before, {id} now)"
        ))
    });
    Ok(found)
}

/// The finding that a member of the group collects into another data set than `own`.
fn in_another_data_set(consumer: &Consumer, own: &str) -> Option<String> {
    let found = consumer.elsewhere(own).ok().flatten();
    found.map(|elsewhere| other_data_set(&elsewhere))
}

/// Makes sure that all members of the group collect into one data set, `own`, and forgets where those did that are gone.
///
/// Errors: a member of the group collects into another one.
pub(crate) fn enter(
    cluster: &Cluster,
    outside: &Consumer,
    shared: &Shared,
    own: &str,
) -> anyhow::Result<()> {
    let Some(found) = outside.elsewhere(own)? else {
        return Ok(());
    };
    if !cluster.members(&shared.group)?.is_empty() {
        return Err(Failure::usage(other_data_set(&found)));
    }
    tracing::info!(
        before = found,
        now = own,
        "the group collects into another data set"
    );
    let partitions: Vec<i32> = (0..outside.partition_count()?).collect();
    let committed = outside.committed(&partitions, ANSWER)?;
    let committed: Vec<(i32, Offset)> = committed
        .into_iter()
        .filter_map(|(partition, position)| Some((partition, Offset::from(position?))))
        .collect();
    // The brokers refuse it if a member has come meanwhile.
    outside.commit(&committed)
}

fn other_data_set(elsewhere: &str) -> String {
    format!(
        "a member of --group collects into another place ({elsewhere}), and each data set would get only a part of the \
         partitions: give this one another --group, or stop that member first"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::names;
    use crate::dataset::store::{Location, Store};
    use crate::pipeline::batch::Batch;
    use crate::pipeline::{self, Lane, What};
    use tidemill_core::exit::Code;

    #[tokio::test]
    async fn a_finding_ends_every_worker_and_lane() {
        let premises = Premises::default();
        let other = premises.clone();
        assert!(premises.check().is_ok() && other.confirm_topic().await.is_ok());
        let finding = other_data_set("data set /b");
        premises.0.found.set(finding).unwrap();
        for error in [other.check(), other.confirm_topic().await] {
            let error = error.unwrap_err();
            assert_eq!(Failure::code(&error), Code::Usage);
            assert!(error.to_string().contains("/b"), "{error}");
        }
    }

    /// Looks that began before a batch was read say nothing of it.
    #[tokio::test]
    async fn a_topic_is_confirmed_by_a_look_that_began_later() {
        let premises = Premises::default();
        let (ask, asked) = channel();
        premises.0.ask.set(ask).unwrap();
        let look = |at| premises.0.looked.send_replace(Some(at));
        look(Instant::now());
        let mut confirming = Box::pin(premises.confirm_topic());
        assert!(futures_util::poll!(&mut confirming).is_pending());
        assert_eq!(asked.try_iter().count(), 1);
        assert!(futures_util::poll!(&mut confirming).is_pending());
        look(Instant::now());
        assert!(confirming.await.is_ok());
    }

    /// The records of a batch may be of the topic that was created again, whatever their offsets: no file of it is published
    /// before a look that began after they were read has confirmed the topic.
    #[tokio::test(flavor = "multi_thread")]
    async fn records_of_a_topic_made_anew_are_not_published() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Folder(folder.path().into()), true).unwrap();
        let sink = pipeline::tests::sink(store).await;
        let (ask, asked) = channel();
        sink.premises.0.ask.set(ask).unwrap();
        let (outcomes, told) = channel();
        let lane = Lane::open(&sink, 0, 1, outcomes);
        let read = |offset: i64| {
            let mut batch = Batch::at(offset.into());
            let value = Some(b"{\"n\":1}".as_slice());
            assert!(batch.push(offset.into(), None, None, value, std::iter::empty()));
            lane.give(batch);
            asked.recv_timeout(Duration::from_secs(30)).unwrap();
        };
        let look = || {
            sink.premises.0.looked.send_replace(Some(Instant::now()));
            told.recv_timeout(Duration::from_secs(30)).unwrap().what
        };
        read(0);
        assert!(told.try_recv().is_err(), "nobody has looked yet");
        assert!(matches!(look(), What::Published(_)));
        read(1);
        sink.premises
            .0
            .found
            .set("it was made anew".into())
            .unwrap();
        assert!(matches!(look(), What::Failed(error) if Failure::code(&error) == Code::Usage));
        let newest = sink.data_set.store().newest("t", &[0]).await.unwrap();
        assert_eq!(newest, [Some(names::data("t", 0, 0.into()))]);
    }
}
