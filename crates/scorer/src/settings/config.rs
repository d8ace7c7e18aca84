//! The scorer's configuration, validated from its flags.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidemill_core::redis_access::RedisAccess;
use tidemill_core::settings::{Problems, Shared, echo, parse_duration, parse_topic};

use super::choices::{Guarantee, Reset, Start, parse_guarantee, parse_share, parse_start};
use super::{BINARY, Flags};

/// The flags, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// The flags of all binaries.
    pub shared: Shared,
    /// The ONNX model.
    pub model: PathBuf,
    /// Topic of the predictions.
    pub output_topic: String,
    /// Topic of the dead letters.
    pub dead_letter_topic: String,
    /// The Redis with the features.
    pub redis: RedisAccess,
    /// The beginning of its keys.
    pub key_prefix: String,
    /// The promise to readers of the predictions.
    pub guarantee: Guarantee,
    /// Share of a worker's time that its transactions may take; 1 where there are none.
    pub commit_share: f64,
    /// Name of this process in transactional ids.
    pub instance: String,
    /// True if that name was given, and so is the same at each start.
    pub lasting: bool,
    /// The start of a group without positions.
    pub start: Start,
    /// Time that a batch may wait for features, beside the time for each of its users.
    pub feature_timeout: Duration,
    /// Set if the group is moved to `start` first.
    pub reset: Option<Reset>,
}

impl Config {
    /// The destination of the group's members, as their commits name it.
    pub fn writes_to(&self) -> String {
        format!("output topic {}", self.output_topic)
    }
}

impl Flags {
    /// Validates all flags.
    ///
    /// # Errors
    ///
    /// All problems at once; the process ends with the code for wrong usage.
    pub fn validate(self) -> anyhow::Result<Config> {
        let mut problems = Problems::default();
        let shared = self.shared.validate(&BINARY, &mut problems);
        let output_topic = problems.take("--output-topic", &self.output_topic, parse_topic);
        let dead_letter_topic = self.dead_letter_topic.as_ref();
        let dead_letter_topic = self
            .shared
            .dead_letter_topic(dead_letter_topic, &mut problems);
        let output = ("--output-topic", self.output_topic.as_str());
        problems.differ(("--topic", &self.shared.topic), output);
        if let Some(topic) = &dead_letter_topic {
            problems.differ(output, ("--dead-letter-topic", topic));
        }
        let guarantee = problems.take("--delivery", &self.delivery, parse_guarantee);
        let commit_share = problems.take("--commit-share", &self.commit_share, parse_share);
        let commit_share = match guarantee {
            Some(Guarantee::AtLeastOnce) => commit_share.and(Some(1.0)),
            _ => commit_share,
        };
        if guarantee == Some(Guarantee::ExactlyOnce) {
            self.shared.check_transactions(&mut problems);
        }
        let start = problems.take("--start", &self.start, parse_start);
        if let Some(Start::Time(millis)) = start {
            echo("--start", &self.start, millis);
        }
        let feature_timeout =
            problems.take("--feature-timeout", &self.feature_timeout, parse_duration);
        let redis = self.redis.validate(&mut problems);
        if let Some(access) = &redis
            && let Err(error) = crate::features::connect::client(access)
        {
            problems.add(format!("--redis-url or its certificates: {error}"));
        }
        if self.instance.as_deref() == Some("") {
            problems.add("--instance is empty: give the process a name, or leave the flag out");
        }
        if self.yes && !self.reset {
            problems.add("--yes has nothing to agree to: it goes with --reset");
        }
        let config = || {
            Some(Config {
                shared: shared?,
                model: self.model,
                output_topic: output_topic?,
                dead_letter_topic: dead_letter_topic?,
                redis: redis?,
                key_prefix: self.key_prefix,
                guarantee: guarantee?,
                commit_share: commit_share?,
                lasting: self.instance.is_some(),
                instance: self.instance.unwrap_or_else(unique),
                start: start?,
                feature_timeout: feature_timeout?,
                reset: self.reset.then_some(match (self.dry_run, self.yes) {
                    (true, _) => Reset::DryRun,
                    (false, true) => Reset::Agreed,
                    (false, false) => Reset::Ask,
                }),
            })
        };
        let config = config();
        problems.finish()?;
        config.ok_or_else(|| anyhow::anyhow!("a flag is invalid, but no problem was noted"))
    }
}

/// A name that no other process has, here or elsewhere, now or later.
fn unique() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("{:x}-{:x}", std::process::id(), since.as_nanos())
}
