//! The scorer's flags, and the configuration they are validated to.

mod choices;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand};
use tidemill_core::command_line::BROKERS;
use tidemill_core::redis_access::{RedisAccess, RedisFlags};
use tidemill_core::settings::{
    Binary, Problems, Shared, SharedFlags, echo, parse_duration, parse_topic,
};

pub use choices::{Guarantee, Start};
use choices::{parse_guarantee, parse_share, parse_start};

/// The names and defaults of the scorer.
pub const BINARY: Binary = Binary {
    name: "scorer",
    version: env!("CARGO_PKG_VERSION"),
    group: "fraud-detection",
    topic: "transactions",
    admin_addr: "127.0.0.1:9102",
    metrics: crate::metrics::METRICS,
    uses: &[
        ("check", &[]),
        ("replay", &[BROKERS, &["group", "output-topic", "model"]]),
    ],
};

/// Scores transactions with an ONNX fraud model, exactly once
#[derive(Parser, Clone, Debug)]
pub struct Flags {
    /// The work to do instead of scoring.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Flags that all binaries share.
    #[command(flatten)]
    pub shared: SharedFlags,

    /// ONNX model; its manifest lies beside it, with the extension toml
    #[arg(
        long,
        env = "MODEL_PATH",
        default_value = "models/fraud.onnx",
        value_name = "FILE",
        global = true
    )]
    pub model: PathBuf,

    /// Topic that predictions go to
    #[arg(
        long,
        env = "TIDEMILL_OUTPUT_TOPIC",
        default_value = "fraud-predictions",
        value_name = "TOPIC",
        global = true
    )]
    pub output_topic: String,

    /// Topic for records that cannot be used [default: <topic>.dead-letter]
    #[arg(
        long,
        env = "TIDEMILL_DEAD_LETTER_TOPIC",
        value_name = "TOPIC",
        global = true
    )]
    pub dead_letter_topic: Option<String>,

    /// Flags of the Redis with the users' features, for models that read any.
    #[command(flatten)]
    pub redis: RedisFlags,

    /// What the keys in Redis start with
    #[arg(
        long,
        env = "TIDEMILL_KEY_PREFIX",
        default_value = "",
        value_name = "TEXT",
        global = true
    )]
    pub key_prefix: String,

    /// exactly-once: predictions and positions in one Kafka transaction; at-least-once: lowest latency
    #[arg(
        long,
        env = "TIDEMILL_DELIVERY",
        default_value = "exactly-once",
        value_name = "GUARANTEE",
        global = true
    )]
    pub delivery: String,

    /// Share of a worker's time that its transactions may take, 0.05 to 1: less makes fewer and larger ones, and leaves the
    /// brokers more room
    #[arg(
        long,
        env = "TIDEMILL_COMMIT_SHARE",
        default_value = "0.5",
        value_name = "SHARE",
        global = true,
        hide_short_help = true
    )]
    pub commit_share: String,

    /// Name of this process, the same at each start and no other process's: a restart then ends
    /// its predecessor's open transaction and takes over its partitions at once [default: random]
    #[arg(long, env = "TIDEMILL_INSTANCE", value_name = "NAME", global = true)]
    pub instance: Option<String>,

    /// Where a group without positions starts: latest, earliest, or a time
    #[arg(
        long,
        env = "TIDEMILL_START",
        default_value = "latest",
        value_name = "WHERE",
        global = true
    )]
    pub start: String,

    /// Move the inactive group to --start first; shows from and to, and asks
    #[arg(long)]
    pub reset: bool,

    /// Do not ask
    #[arg(long)]
    pub yes: bool,

    /// How long a batch may wait for features, beside 10 us for each of its users; 1 s where its oldest record is over
    /// 1 s old
    #[arg(
        long,
        env = "TIDEMILL_FEATURE_TIMEOUT",
        default_value = "20ms",
        value_name = "DURATION",
        global = true,
        hide_short_help = true
    )]
    pub feature_timeout: String,
}

/// The commands beside scoring.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Check a model: does it load, what does it take and score, golden vectors, latency; warns of what can hardly be meant
    Check {
        /// The ONNX model; its manifest lies beside it, with the extension toml
        #[arg(value_name = "MODEL")]
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check flags, model and manifest without starting; exit code 64 if they cannot be used
    Validate,
    /// Score a stretch of predictions again from their receipts and compare; writes nothing
    Replay {
        /// Predictions from this time
        #[arg(long)]
        from: String,
        /// Predictions before this time [default: now]
        #[arg(long)]
        to: Option<String>,
    },
    /// Say what is wrong with brokers, topics, records, group, model or Redis, with the remedy; exit code 1 on a problem
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl AsRef<SharedFlags> for Flags {
    fn as_ref(&self) -> &SharedFlags {
        &self.shared
    }
}

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
    /// Set if the group is moved to `start` first; true if that is agreed to.
    pub reset: Option<bool>,
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
            && let Err(error) = crate::features::client::client(access)
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
                reset: self.reset.then_some(self.yes),
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
