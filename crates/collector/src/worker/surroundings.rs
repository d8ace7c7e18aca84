//! What others do to the topic and the group, watched on a thread of its own: a topic that is made anew under the same
//! name, and members of the group that collect into another data set.

use crate::dataset::start::remedy;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tidemill_core::exit::Failure;
use tidemill_core::kafka::{Cluster, Consumer, TopicId};
use tidemill_core::settings::Shared;
use tokio_util::sync::CancellationToken;

/// The pause between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// The time that an answer may take.
const ANSWER: Duration = Duration::from_secs(2);

/// What was seen that the run has to end with. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings(Arc<OnceLock<String>>);

impl Surroundings {
    /// Ends the run where something was seen.
    pub(crate) fn look(&self) -> anyhow::Result<()> {
        match self.0.get() {
            None => Ok(()),
            Some(seen) => Err(Failure::usage(seen.clone())),
        }
    }

    /// Watches the topic and the group of `consumer`, which is no member, until `shutdown`. `topic` is the topic's id as
    /// the run began, and `writes_to` the data set of our members; `None` accepts any.
    pub(crate) fn watch(
        &self,
        consumer: Consumer,
        topic: Option<TopicId>,
        writes_to: Option<String>,
        shutdown: CancellationToken,
    ) -> std::io::Result<()> {
        let seen = self.0.clone();
        let watch = move || {
            let mut next = Instant::now();
            while !shutdown.is_cancelled() && seen.get().is_none() {
                std::thread::sleep(Duration::from_millis(100));
                if Instant::now() < next {
                    continue;
                }
                next = Instant::now() + EVERY;
                if let Some(found) = look(&consumer, topic, writes_to.as_deref()) {
                    seen.set(found).ok();
                }
            }
        };
        let thread = std::thread::Builder::new().name("surroundings".into());
        thread.spawn(watch).map(drop)
    }
}

/// What the run has to end with. An outage is told by others, and a topic that is gone may come back.
fn look(consumer: &Consumer, topic: Option<TopicId>, writes_to: Option<&str>) -> Option<String> {
    if let (Some(known), Ok(Some(id))) = (topic, consumer.topic_id())
        && known != id
    {
        let name = consumer.topic();
        return Some(remedy(&format!(
            "topic {name} was deleted and created again (id {known} before, {id} now)"
        )));
    }
    let own = writes_to?;
    let found = elsewhere(consumer, own).ok().flatten();
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
    let Some(found) = elsewhere(outside, own)? else {
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
    let committed: Vec<(i32, i64)> = committed
        .into_iter()
        .filter_map(|(partition, position)| Some((partition, position?)))
        .collect();
    // The brokers refuse it if a member has come meanwhile.
    outside.commit(&committed)
}

/// The data set of another member of the group, where it is not `own`.
fn elsewhere(consumer: &Consumer, own: &str) -> anyhow::Result<Option<String>> {
    let partitions: Vec<i32> = (0..consumer.partition_count()?).collect();
    consumer.others_write_to(&partitions, own, ANSWER)
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
    use tidemill_core::exit::Code;

    #[test]
    fn what_was_seen_ends_every_worker() {
        let surroundings = Surroundings::default();
        let other = surroundings.clone();
        assert!(surroundings.look().is_ok());
        surroundings.0.set(other_data_set("data set /b")).unwrap();
        let error = other.look().unwrap_err();
        assert_eq!(Failure::code(&error), Code::Usage);
        assert!(error.to_string().contains("/b"), "{error}");
    }
}
