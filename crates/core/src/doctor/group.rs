//! A group, judged by its members, its positions, and two looks at its lag.

use super::Report;
use crate::kafka::Member;
use crate::kafka::lag::Lag;
use std::time::Duration;

/// Records may be this old in normal running before their lag is worth a word.
const GRACE: Duration = Duration::from_secs(5);

/// What is known of a group.
pub(super) struct Group<'a> {
    pub(super) name: &'a str,
    pub(super) topic: &'a str,
    /// What our own members call themselves.
    pub(super) client: &'a str,
    pub(super) members: &'a [Member],
    /// The first look.
    pub(super) before: &'a [Lag],
    /// The second, `between` later.
    pub(super) after: &'a [Lag],
    pub(super) between: Duration,
    /// A group without positions starts at the end.
    pub(super) starts_late: bool,
    /// How long records may wait for being committed in normal running.
    pub(super) patience: Duration,
    /// What to do where the topic is another than the positions are of.
    pub(super) recreated: &'a str,
    /// How the group is made to read again.
    pub(super) again: &'a str,
}

impl Group<'_> {
    /// Judges whose members they are, and how many.
    pub(super) fn judge_members(&self, report: &mut Report) {
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
            report.problem(
                "members",
                format!(
                    "receives nothing, or not all: group {} has a member that is not ours: client {:?} at {}, reading {}",
                    self.name,
                    other.client,
                    other.host,
                    other.topics.join(", ")
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

    /// Judges the positions against the log.
    pub(super) fn judge_positions(&self, report: &mut Report) {
        let Self {
            name, topic, after, ..
        } = self;
        let beyond = after
            .iter()
            .find(|lag| lag.committed.is_some_and(|position| position > lag.end));
        let lost: i64 = after
            .iter()
            .map(|lag| (lag.oldest - lag.committed.unwrap_or(lag.oldest)).max(0))
            .sum();
        let there: i64 = after.iter().map(|lag| lag.end - lag.oldest).sum();
        let committed = after.iter().filter(|lag| lag.committed.is_some()).count();
        if let Some(lag) = beyond {
            report.problem(
                "position",
                format!(
                    "group {name} stands at {} in {topic} {}, whose log ends at {}: the topic was made anew",
                    lag.committed.unwrap_or_default(),
                    lag.partition,
                    lag.end
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

    /// Judges how the lag changes, at `now` in epoch milliseconds.
    pub(super) fn judge_lag(&self, now: i64, report: &mut Report) {
        // Before its first start a group is not behind.
        if self.after.iter().all(|lag| lag.committed.is_none()) && self.members.is_empty() {
            return;
        }
        let records = |lags: &[Lag]| lags.iter().map(Lag::records).sum::<i64>();
        let (before, behind) = (records(self.before), records(self.after));
        let seconds = self
            .after
            .iter()
            .map(|lag| lag.seconds(now))
            .fold(0.0, f64::max);
        let late = seconds > (self.patience + GRACE).as_secs_f64();
        if behind > before && late {
            self.grows(behind, seconds, report);
        } else if late && behind == before {
            report.warning(
                "lag",
                format!("{behind} records wait, the oldest for {seconds:.0} s, and none was read meanwhile"),
                match self.members {
                    [] => "start it",
                    _ => "see /readyz and the log for what holds it up",
                },
            );
        } else {
            report.ok(
                "lag",
                format!("{behind} records, the oldest {seconds:.0} s old"),
            );
        }
    }

    fn grows(&self, behind: i64, seconds: f64, report: &mut Report) {
        let sum = |lags: &[Lag], of: fn(&Lag) -> i64| lags.iter().map(of).sum::<i64>() as f64;
        let rate = |of| {
            (sum(self.after, of) - sum(self.before, of)) / self.between.as_secs_f64().max(0.001)
        };
        let (come, done) = (
            rate(|lag| lag.end),
            rate(|lag| lag.committed.unwrap_or_default()),
        );
        let (workers, partitions) = (self.members.len(), self.after.len());
        let remedy = match workers {
            0 => "nobody reads: start it".to_owned(),
            _ if done < 1.0 => {
                "see /readyz and the log for what keeps its workers from writing".to_owned()
            }
            _ if workers < partitions => {
                format!(
                    "more --workers or processes: {workers} of at most {partitions} are at work"
                )
            }
            _ => "more partitions and workers; tidemill_stage_seconds tells what takes the time"
                .to_owned(),
        };
        report.problem(
            "lag",
            format!(
                "lag grows: {come:.0} records a second come in, {done:.0} are done; {behind} wait, the oldest for {seconds:.0} s"
            ),
            remedy,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    const NOW: i64 = 1_000_000;

    fn lag(committed: Option<i64>, end: i64, age: Option<i64>) -> Lag {
        Lag {
            partition: 0,
            committed,
            oldest: 10,
            end,
            first_unread: age.map(|age| NOW - age * 1000),
            at_end: age.is_none(),
        }
    }

    fn member(client: &str, topic: &str) -> Member {
        Member {
            client: client.into(),
            host: "h".into(),
            assigned: Default::default(),
            topics: vec![topic.into()],
        }
    }

    /// The finding of `check` for one partition, seen twice.
    fn judged(check: &str, members: &[Member], before: Lag, after: Lag) -> (Level, String) {
        let group = Group {
            name: "g",
            topic: "t",
            client: "tidemill",
            members,
            before: &[before],
            after: &[after],
            between: Duration::from_secs(2),
            starts_late: true,
            patience: Duration::ZERO,
            recreated: "reset",
            again: "reset",
        };
        let mut report = Report::default();
        group.judge_members(&mut report);
        group.judge_positions(&mut report);
        group.judge_lag(NOW, &mut report);
        let found = report.findings.into_iter().find(|one| one.check == check);
        found.map_or((Level::Ok, String::new()), |one| (one.level, one.message))
    }

    #[test]
    fn positions() {
        let position = |lag: Lag| judged("position", &[], lag, lag);
        assert_eq!(position(lag(Some(20), 20, None)).0, Level::Ok);
        let (level, text) = position(lag(None, 20, Some(1)));
        assert!(
            level == Level::Warning && text.contains("10 records"),
            "{text}"
        );
        assert_eq!(position(lag(Some(30), 20, None)).0, Level::Problem);
        let (level, text) = position(lag(Some(7), 20, Some(1)));
        assert!(
            level == Level::Problem && text.contains("deleted 3"),
            "{text}"
        );
        let (level, text) = position(lag(None, 10, None));
        assert!(
            level == Level::Warning && text.contains("no records"),
            "{text}"
        );
    }

    #[test]
    fn members() {
        let at_end = lag(Some(20), 20, None);
        let judged = |members: &[Member]| judged("members", members, at_end, at_end);
        assert_eq!(judged(&[member("tidemill", "t")]).0, Level::Ok);
        assert_eq!(judged(&[]).0, Level::Ok);
        assert_eq!(judged(&[member("rdkafka", "t")]).0, Level::Problem);
        assert_eq!(judged(&[member("tidemill", "other")]).0, Level::Problem);
        let two = [member("tidemill", "t"), member("tidemill", "t")];
        assert_eq!(judged(&two).0, Level::Warning);
    }

    #[test]
    fn lag_that_grows_stands_or_shrinks() {
        let ours = [member("tidemill", "t")];
        let (few, many) = (lag(Some(15), 20, Some(60)), lag(Some(16), 40, Some(60)));
        let (level, text) = judged("lag", &ours, few, many);
        assert_eq!(level, Level::Problem);
        assert!(text.contains("10 records a second come in"), "{text}");
        assert_eq!(judged("lag", &ours, many, few).0, Level::Ok);
        assert_eq!(judged("lag", &ours, few, few).0, Level::Warning);
        let young = lag(Some(16), 40, Some(1));
        assert_eq!(judged("lag", &ours, few, young).0, Level::Ok);
    }
}
