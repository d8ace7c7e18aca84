//! Judges the newest records of a topic: keys, usability, clocks.

use super::Report;
use super::claims::Sampled;
use super::partitioner::{crc32, murmur2};
use crate::record::Reject;
use crate::record::timestamp::date;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};

/// Tolerated lead of timestamps over the clock here, in milliseconds.
const AHEAD_MS: i64 = 60_000;

/// Timestamps this far from the clock here (10 years, in milliseconds) have another unit.
const STRANGE_MS: i64 = 10 * 365 * 86_400_000;

/// A binary's verdict on a record of the sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It can be used; of this user, if records are kept by user.
    Usable(Option<String>),
    /// The binary cannot tell: what it judges records by cannot be used.
    Unjudged,
    /// It cannot be used, and would become a dead letter or a rejected row.
    Rejected(Reject),
}

/// The facts about the sampled records.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) records: u64,
    /// The largest key and value together, in bytes.
    pub(super) largest: usize,
    pub(super) claims: Sampled,
    /// Kafka timestamps (epoch ms).
    times: Vec<i64>,
    rejected: BTreeMap<&'static str, (u64, String)>,
    unjudged: u64,
    unkeyed: u64,
    /// Records whose key is not the user's id.
    other_key: u64,
    /// Records in the partition to which Java clients would send their key, and to which librdkafka would.
    places: [u64; 2],
    keyed: u64,
    users: HashMap<String, BTreeSet<i32>>,
}

impl Sample {
    /// Adds a record of one of `count` partitions.
    pub(super) fn take(
        &mut self,
        (partition, count): (i32, usize),
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        timestamp: Option<i64>,
        seen: Seen,
    ) {
        self.records += 1;
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        self.largest = self.largest.max(length(key) + length(value));
        self.times.extend(timestamp);
        self.claims.take(value);
        match key {
            None => self.unkeyed += 1,
            Some(key) => {
                let count = count.max(1) as u32;
                self.keyed += 1;
                self.places[0] += u64::from(murmur2(key, count) == partition);
                self.places[1] += u64::from(crc32(key, count) == partition);
            }
        }
        match seen {
            Seen::Usable(Some(user)) => {
                self.other_key += u64::from(key.is_some_and(|key| key != user.as_bytes()));
                self.users.entry(user).or_default().insert(partition);
            }
            Seen::Usable(None) => {}
            Seen::Unjudged => self.unjudged += 1,
            Seen::Rejected(reject) => {
                let found = self.rejected.entry(reject.reason.code());
                found.or_insert((0, reject.error)).0 += 1;
            }
        }
    }

    /// Judges if the records can be used.
    pub(super) fn judge(&self, topic: &str, report: &mut Report) {
        if self.records == 0 {
            return;
        }
        let count: u64 = self.rejected.values().map(|(count, _)| count).sum();
        if self.unjudged > 0 {
            report.warning(
                "records",
                format!(
                    "{} of {} sampled were not judged",
                    self.unjudged, self.records
                ),
                "mend the other problems first, and run doctor again",
            );
        } else if count == 0 {
            report.ok(
                "records",
                format!("{} of {} sampled can be used", self.records, self.records),
            );
        } else {
            let reasons: Vec<String> = self
                .rejected
                .iter()
                .map(|(reason, (count, error))| format!("{reason} {count}, such as: {error}"))
                .collect();
            report.warning(
                "records",
                format!("{count} of {} sampled cannot be used: {}", self.records, reasons.join("; ")),
                format!("mend what writes them to {topic}; sandbox dead-letters shows and sends back what was set aside"),
            );
        }
    }

    /// Judges clocks at `now` in epoch milliseconds: that of the brokers if they stamp the records of this topic
    /// (`by_brokers`), else those of the producers. A clock that is behind looks the same as old records.
    pub(super) fn judge_clock(&self, by_brokers: bool, now: i64, report: &mut Report) {
        let whose = if by_brokers {
            "the brokers' clock is"
        } else {
            "timestamps are"
        };
        let strange = |time: &&i64| (**time - now).abs() > STRANGE_MS;
        if let Some(example) = self.times.iter().find(strange) {
            let count = self.times.iter().filter(strange).count();
            report.warning(
                "clock",
                format!(
                    "{count} of {} sampled records have a Kafka timestamp decades away, such as {}: retention and \
                     windows go by it",
                    self.records,
                    date(*example)
                ),
                "have producers give milliseconds, neither seconds nor microseconds, or none",
            );
            return;
        }
        match self.times.iter().max().map(|newest| newest - now) {
            Some(ahead) if ahead > AHEAD_MS => report.warning(
                "clock",
                format!("{whose} up to {} s ahead of the clock here", ahead / 1000),
                "synchronise the clocks of producers, brokers and this machine (NTP)",
            ),
            Some(ahead) => report.ok(
                "clock",
                format!("the newest record is {} s old", (-ahead).max(0) / 1000),
            ),
            None => {}
        }
    }

    /// Judges if each user's events keep their order, which they do only within one partition.
    pub(super) fn judge_keys(&self, report: &mut Report) {
        if self.records == 0 {
            return;
        }
        let split = self
            .users
            .values()
            .filter(|places| places.len() > 1)
            .count();
        let users = self.users.len();
        let of = format!("of {} sampled records", self.records);
        if self.unkeyed > 0 {
            report.problem(
                "keys",
                format!("out of order: {} {of} have no key, so that a user's events lie in any partition", self.unkeyed),
                "produce them with the user_id as key",
            );
        } else if split > 0 && self.other_key > 0 {
            report.problem(
                "keys",
                format!(
                    "out of order: {split} of {users} users lie in several partitions; the keys {of} are not the \
                     user_id in {}",
                    self.other_key
                ),
                "produce them with the user_id as key",
            );
        } else if split > 0 {
            let share = |count: u64| count * 100 / self.keyed.max(1);
            report.problem(
                "keys",
                format!(
                    "out of order: {split} of {users} users lie in several partitions, mixed partitioners: {} % {of} \
                     lie where Java clients put their key, {} % where librdkafka's default does",
                    share(self.places[0]),
                    share(self.places[1])
                ),
                "partitioner=murmur2_random in clients built on librdkafka (Python, Go, C#, ...); where partitions were \
                 added it passes with the longest window",
            );
        } else if self.other_key > 0 {
            report.warning(
                "keys",
                format!("the key is not the user_id in {} {of}", self.other_key),
                "produce them with the user_id as key, or a user's events may come to lie in several partitions",
            );
        } else {
            report.ok(
                "keys",
                format!("{users} users {of}, each in one partition, their id as key"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::record::Reason;

    fn judged(records: &[(i32, Option<&str>, &str)]) -> (Level, String) {
        let mut sample = Sample::default();
        for (partition, key, user) in records {
            let seen = Seen::Usable(Some((*user).to_owned()));
            let key = key.map(str::as_bytes);
            sample.take((*partition, 4), (key, Some(b"{}")), Some(0), seen);
        }
        let mut report = Report::default();
        sample.judge_keys(&mut report);
        let found = report.findings.pop().unwrap();
        (found.level, found.message)
    }

    #[test]
    fn keys_and_partitioners() {
        assert_eq!(
            judged(&[(0, Some("u"), "u"), (0, Some("u"), "u")]).0,
            Level::Ok
        );
        assert_eq!(judged(&[(0, Some("x"), "u")]).0, Level::Warning);
        assert!(judged(&[(0, None, "u")]).1.contains("no key"));
        let (level, text) = judged(&[(0, Some("x"), "u"), (1, Some("y"), "u")]);
        assert!(
            level == Level::Problem && text.contains("not the"),
            "{text}"
        );
        let places = [murmur2(b"u_1", 4), crc32(b"u_1", 4)];
        assert_ne!(places[0], places[1], "a user whom the two put apart");
        let (level, text) = judged(&places.map(|place| (place, Some("u_1"), "u_1")));
        assert!(
            level == Level::Problem && text.contains("mixed partitioners"),
            "{text}"
        );
        assert!(text.contains("50 %"), "{text}");
    }

    #[test]
    fn unusable_records_and_clocks() {
        let mut sample = Sample::default();
        let reject = Reject::new(Reason::MissingField, "user_id is missing");
        sample.take((0, 1), (None, None), Some(200_000), Seen::Rejected(reject));
        let mut report = Report::default();
        sample.judge("t", &mut report);
        sample.judge_clock(false, 100_000, &mut report);
        let levels: Vec<Level> = report.findings.iter().map(|one| one.level).collect();
        assert_eq!(levels, [Level::Warning, Level::Warning]);
        assert!(
            report.findings[1]
                .message
                .contains("timestamps are up to 100 s ahead")
        );
        sample.judge_clock(true, 100_000, &mut report);
        assert!(report.findings[2].message.contains("brokers' clock"));
    }

    #[test]
    fn a_sample_that_nobody_judged_is_not_called_usable() {
        let mut sample = Sample::default();
        sample.take((0, 1), (None, None), None, Seen::Unjudged);
        let mut report = Report::default();
        sample.judge("t", &mut report);
        assert_eq!(report.findings[0].level, Level::Warning);
        assert_eq!(report.findings[0].message, "1 of 1 sampled were not judged");
    }

    #[test]
    fn times_of_another_unit_are_strange() {
        let now = 1_771_151_400_000;
        for (time, strange) in [
            (now, false),
            (now - 9 * 365 * 86_400_000, false),
            (now / 1000, true),
            (now * 1000, true),
        ] {
            let mut sample = Sample::default();
            for time in [now, time] {
                sample.take((0, 1), (None, None), Some(time), Seen::Usable(None));
            }
            let mut report = Report::default();
            sample.judge_clock(false, now, &mut report);
            let message = &report.findings[0].message;
            assert_eq!(message.contains("1 of 2 sampled"), strange, "{message}");
        }
    }
}
