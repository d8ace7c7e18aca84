//! The brokers' reports on themselves, their topics and groups, for doctor.

use super::broker::ANSWER;
use super::{Broker, Cluster, raw};
use anyhow::Context;
use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use tokio::task::block_in_place;

/// A partition and its replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The partition.
    pub partition: i32,
    /// True if it has a leader, so that clients can read and write it.
    pub led: bool,
    /// The number of its replicas.
    pub replicas: usize,
    /// The number of replicas in sync.
    pub in_sync: usize,
}

/// A member of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its client id.
    pub client: String,
    /// Its host.
    pub host: String,
    /// The partitions assigned to it, by topic; none while the group rebalances.
    pub assigned: BTreeMap<String, Vec<i32>>,
    /// The topics it subscribes to.
    pub topics: Vec<String>,
}

impl Cluster {
    /// The brokers, as they advertise themselves.
    pub fn brokers(&self) -> anyhow::Result<Vec<Broker>> {
        let metadata = block_in_place(|| self.client().fetch_metadata(None, ANSWER))
            .context("asking for the brokers")?;
        let brokers = metadata.brokers().iter().map(|broker| Broker {
            id: broker.id(),
            host: broker.host().to_owned(),
            port: u16::try_from(broker.port()).unwrap_or_default(),
        });
        Ok(brokers.collect())
    }

    /// The partitions of a topic; none if the topic does not exist.
    pub fn layout(&self, topic: &str) -> anyhow::Result<Vec<Layout>> {
        // All topics, since asking for one by name makes brokers with auto.create.topics.enable create it.
        let metadata = block_in_place(|| self.client().fetch_metadata(None, ANSWER))
            .with_context(|| format!("asking for topic {topic}"))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let partitions = found.map(|found| found.partitions()).unwrap_or_default();
        let layout = partitions.iter().map(|partition| Layout {
            partition: partition.id(),
            led: partition.leader() >= 0,
            replicas: partition.replicas().len(),
            in_sync: partition.isr().len(),
        });
        Ok(layout.collect())
    }

    /// The settings of a topic, defaults included.
    pub async fn topic_settings(&self, topic: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let asked = [ResourceSpecifier::Topic(topic)];
        let options = AdminOptions::new().request_timeout(Some(ANSWER));
        let mut answer = self.admin()?.describe_configs(&asked, &options).await?;
        let settings = answer
            .pop()
            .context("no answer")?
            .map_err(|code| anyhow::anyhow!("{code}"))?;
        let entries = settings.entries.into_iter();
        Ok(entries
            .filter_map(|entry| Some((entry.name, entry.value?)))
            .collect())
    }

    /// The groups with a member that subscribes to a topic, each once.
    pub fn groups_on(&self, topic: &str) -> anyhow::Result<Vec<String>> {
        let members = block_in_place(|| raw::members(self.client(), None, ANSWER));
        let mut members = members.context("asking for the groups")?;
        members.retain(|member| {
            let topics = subscription(&member.subscription).unwrap_or_default();
            topics.iter().any(|one| one == topic)
        });
        let groups: BTreeSet<String> = members.into_iter().map(|member| member.group).collect();
        Ok(groups.into_iter().collect())
    }

    /// The members of a consumer group; none if the group does not exist.
    pub fn members(&self, group: &str) -> anyhow::Result<Vec<Member>> {
        let name = CString::new(group)?;
        let members = block_in_place(|| raw::members(self.client(), Some(&name), ANSWER))
            .with_context(|| format!("asking for group {group}"))?;
        let members = members.into_iter().map(|member| Member {
            client: member.client,
            host: member.host.trim_start_matches('/').to_owned(),
            assigned: assignment(&member.assignment).unwrap_or_default(),
            topics: subscription(&member.subscription).unwrap_or_default(),
        });
        Ok(members.collect())
    }
}

/// The topics of a consumer's subscription, after its version (Kafka's protocol guide, `ConsumerProtocolSubscription`).
fn subscription(bytes: &[u8]) -> Option<Vec<String>> {
    let mut input = Input(bytes);
    input.take(2)?;
    (0..input.count()?).map(|_| input.text()).collect()
}

/// Partitions by topic, after the version (`ConsumerProtocolAssignment`).
fn assignment(bytes: &[u8]) -> Option<BTreeMap<String, Vec<i32>>> {
    let mut input = Input(bytes);
    input.take(2)?;
    let topic = |input: &mut Input<'_>| {
        let name = input.text()?;
        let partitions: Option<Vec<i32>> = (0..input.count()?).map(|_| input.number()).collect();
        Some((name, partitions?))
    };
    (0..input.count()?).map(|_| topic(&mut input)).collect()
}

/// Big-endian numbers and texts; `None` if the bytes do not suffice.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn count(&mut self) -> Option<usize> {
        // Each element takes at least one byte: a larger count is nonsense, and must not reserve memory.
        let left = self.0.len();
        usize::try_from(self.number()?)
            .ok()
            .filter(|count| *count <= left)
    }

    fn text(&mut self) -> Option<String> {
        let length = i16::from_be_bytes(self.take(2)?.try_into().ok()?);
        let text = self.take(usize::try_from(length).ok()?)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memberships_are_read_and_nonsense_is_nothing() {
        let text = |text: &str| {
            let mut bytes = (text.len() as i16).to_be_bytes().to_vec();
            bytes.extend(text.bytes());
            bytes
        };
        let one = 1_i32.to_be_bytes();
        let subscribed = [&[0, 1], &one[..], &text("t"), &(-1_i32).to_be_bytes()].concat();
        assert_eq!(subscription(&subscribed), Some(vec!["t".to_owned()]));
        let two = 2_i32.to_be_bytes();
        let assigned = [&[0, 1], &one[..], &text("t"), &two, &one, &two].concat();
        let expected = BTreeMap::from([("t".to_owned(), vec![1, 2])]);
        assert_eq!(assignment(&assigned), Some(expected));
        for cut in 0..assigned.len() {
            assert_eq!(assignment(&assigned[..cut]), None);
        }
        let huge = [&[0, 1], &i32::MAX.to_be_bytes()[..]].concat();
        assert_eq!(subscription(&huge), None);
    }
}
