//! The members of a group: ours or not, and their number.

use super::Group;
use crate::doctor::Report;
use crate::kafka::Member;

impl Group<'_> {
    /// Judges if the members are ours, and their number.
    pub(in crate::doctor) fn judge_members(&self, report: &mut Report) {
        let partitions = self.after.len();
        let reads_ours = |one: &&Member| {
            one.topics.is_empty() || one.topics.iter().any(|topic| topic == self.topic)
        };
        let stranger = self
            .members
            .iter()
            .find(|one| !reads_ours(one) || one.client != self.client);
        let count = self.members.len();
        if let Some(other) = stranger {
            let (topics, host) = (other.topics.join(", "), &other.host);
            let who = match other.client == self.client {
                true => {
                    format!("a tidemill process, at {host}, that reads another topic, {topics}")
                }
                false => format!(
                    "a member that is not ours: client {:?} at {host}, reading {topics}",
                    other.client
                ),
            };
            report.problem(
                "members",
                format!(
                    "receives nothing, or not all: group {} has {who}",
                    self.name
                ),
                "give each application a --group of its own",
            );
        } else if count > partitions {
            report.warning(
                "members",
                format!(
                    "receives nothing in {} of {count} workers: {} has {partitions} partitions",
                    count - partitions,
                    self.topic
                ),
                "more partitions, or fewer workers and processes",
            );
        } else if count == 0 {
            report.ok(
                "members",
                format!("group {} has none: nothing of it is running", self.name),
            );
        } else {
            report.ok(
                "members",
                format!(
                    "group {} has {count} workers for {partitions} partitions",
                    self.name
                ),
            );
        }
    }
}
