//! The positions of a group in the log, and the records that it will therefore receive.

use super::Group;
use crate::doctor::Report;

impl Group<'_> {
    /// Judges the positions against the log.
    pub(in crate::doctor) fn judge_positions(&self, report: &mut Report) {
        let Self {
            name, topic, after, ..
        } = self;
        let beyond = after
            .iter()
            .find(|lag| lag.committed.is_some_and(|position| position > lag.log.end));
        let lost: i64 = after
            .iter()
            .map(|lag| (lag.log.oldest - lag.committed.unwrap_or(lag.log.oldest)).max(0))
            .sum();
        let there: i64 = after.iter().map(|lag| lag.log.end - lag.log.oldest).sum();
        let committed = after.iter().filter(|lag| lag.committed.is_some()).count();
        if let Some(lag) = beyond {
            report.problem(
                "position",
                format!(
                    "group {name} stands at {} in {topic} {}, whose log ends at {}: the topic was made anew",
                    lag.committed.unwrap_or_default(),
                    lag.partition,
                    lag.log.end
                ),
                self.recreated,
            );
        } else if lost > 0 {
            report.problem(
                "position",
                format!(
                    "retention has deleted {lost} records of {topic} that group {name} has not read"
                ),
                "raise retention.ms, and see why the group is that late",
            );
        } else if there == 0 {
            report.warning(
                "position",
                format!("receives nothing: {topic} holds no records"),
                "check --topic and --brokers, and what should produce to it",
            );
        } else if committed == 0 && self.starts_late {
            report.warning(
                "position",
                format!(
                    "receives nothing of the {there} records that are there: group {name} has no position, and starts \
                     at the end of {topic} (--start latest)"
                ),
                "--start earliest, or a time",
            );
        } else if committed == 0 {
            report.ok(
                "position",
                format!("group {name} has none yet and starts where its output says"),
            );
        } else if after.iter().all(|lag| lag.at_end) {
            report.ok(
                "position",
                format!(
                    "group {name} is at the end of {topic} and receives nothing until more is produced; {}",
                    self.again
                ),
            );
        } else {
            report.ok(
                "position",
                format!(
                    "group {name} has one in {committed} of {} partitions",
                    after.len()
                ),
            );
        }
    }
}
