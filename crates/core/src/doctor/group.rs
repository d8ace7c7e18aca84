//! Judges a group by its members, its positions, and two measurements of its lag.

mod lag;
mod members;
mod positions;

use crate::kafka::Member;
use crate::kafka::lag::Lag;
use std::time::Duration;

/// The facts about a group.
pub(super) struct Group<'a> {
    pub(super) name: &'a str,
    pub(super) topic: &'a str,
    /// The client id of our own members.
    pub(super) client: &'a str,
    pub(super) members: &'a [Member],
    /// The first measurement.
    pub(super) before: &'a [Lag],
    /// The second, `between` later.
    pub(super) after: &'a [Lag],
    pub(super) between: Duration,
    /// True if a group without positions starts at the end.
    pub(super) starts_late: bool,
    /// Time that records may wait for their commit in normal operation.
    pub(super) patience: Duration,
    /// Remedy if the positions are of another topic.
    pub(super) recreated: &'a str,
    /// Instruction for making the group read again.
    pub(super) again: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Level, Report};
    use crate::kafka::LogRange;

    const NOW: i64 = 1_000_000;

    fn lag(committed: Option<i64>, end: i64, age: Option<i64>) -> Lag {
        Lag {
            partition: 0,
            committed,
            log: LogRange { oldest: 10, end },
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

    /// The finding of `check` for one partition, measured twice.
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
