//! Flags of the featurizer, and the validated configuration made from them.

use crate::commands::rebuild::Rebuild;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;
use tidemill_core::command_line::{BROKERS, CLAIMS, REDIS};
use tidemill_core::features::{Definitions, Limits};
use tidemill_core::redis_access::{RedisAccess, RedisFlags};
use tidemill_core::settings::{Binary, Problems, Shared, SharedFlags, parse_duration};

/// Most of `--checkpoint`: windows outlive their hashes by an hour at least.
const LONGEST_CHECKPOINT: Duration = Duration::from_secs(600);

/// The featurizer among the binaries.
pub const BINARY: Binary = Binary {
    name: "featurizer",
    version: env!("CARGO_PKG_VERSION"),
    group: "feature-compute",
    topic: "user-events",
    admin_addr: "127.0.0.1:9101",
    metrics: crate::metrics::METRICS,
    uses: &[
        (
            "explain",
            &[
                BROKERS,
                REDIS,
                CLAIMS,
                &["group", "topic", "features", "exact-events"],
            ],
        ),
        (
            "rebuild",
            &[BROKERS, REDIS, &["group", "topic", "features"]],
        ),
    ],
};

/// Keeps sliding-window features per user, in event time, in Redis
#[derive(Parser, Clone, Debug)]
pub struct Flags {
    /// Flags of every binary.
    #[command(flatten)]
    pub shared: SharedFlags,
    /// Flags of the featurizer.
    #[command(flatten)]
    pub own: OwnFlags,
    /// The command to run instead of the loop.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags that only the featurizer has.
#[derive(Args, Clone, Debug)]
pub struct OwnFlags {
    /// Flags of the Redis that features are kept in.
    #[command(flatten)]
    pub redis: RedisFlags,

    /// Beginning of all key names; the scorer's flag of this name must be the same
    #[arg(long, env = "TIDEMILL_KEY_PREFIX", default_value = "", global = true)]
    pub key_prefix: String,

    /// Feature definitions [default: four features over the purchases of 24 hours]
    #[arg(long, env = "TIDEMILL_FEATURES", value_name = "FILE", global = true)]
    pub features: Option<PathBuf>,

    /// Topic for records that cannot be used [default: the input topic's name and .dead-letter]
    #[arg(
        long,
        env = "TIDEMILL_DEAD_LETTER_TOPIC",
        value_name = "TOPIC",
        global = true
    )]
    pub dead_letter_topic: Option<String>,

    /// Events kept exactly for each user; beyond, the oldest are summed up by the minute
    #[arg(
        long,
        env = "TIDEMILL_EXACT_EVENTS",
        default_value = "1024",
        value_name = "N",
        global = true,
        hide_short_help = true
    )]
    pub exact_events: String,

    /// Megabytes of users kept in memory, over all workers
    #[arg(
        long,
        env = "TIDEMILL_CACHE_MB",
        default_value = "512",
        value_name = "MB",
        global = true,
        hide_short_help = true
    )]
    pub cache_mb: String,

    /// How long a user's stored window may lag behind its features; after a crash as much of the topic is read again
    #[arg(
        long,
        env = "TIDEMILL_CHECKPOINT",
        default_value = "10s",
        value_name = "DURATION",
        global = true,
        hide_short_help = true
    )]
    pub checkpoint: String,

    /// Take the key prefix over from another group or other feature definitions
    #[arg(long)]
    pub takeover: bool,
}

/// The command to run instead of the loop.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Show a user's features with the events behind them, and compare them with what is stored
    Explain {
        /// The user's id
        user: String,
        /// The time to evaluate at: RFC 3339, a date, now, 1h ago, or an epoch number [default: the stored hash's own]
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
        /// Number of the last events to show
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: usize,
        /// Print JSON, with all events
        #[arg(long)]
        json: bool,
    },
    /// Check flags and feature definitions without starting; exit code 64 if they cannot be used
    Validate,
    /// Build the stored windows again from the topic: running featurizers do it, or the next one to start
    Rebuild {
        /// Only this partition
        #[arg(long, value_name = "P")]
        partition: Option<i32>,
        /// Return once featurizers have built them, with a bar on a terminal
        #[arg(long, conflicts_with = "dry_run")]
        wait: bool,
        /// Say what would be built again, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Say what is wrong with brokers, topic, records, group or Redis, with the remedy; exit code 1 on a problem
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

/// The featurizer's validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Configuration that all binaries share.
    pub shared: Shared,
    /// The Redis that features are kept in.
    pub redis: RedisAccess,
    /// Prefix of all key names.
    pub key_prefix: String,
    /// Feature definitions.
    pub definitions: Definitions,
    /// Topic for records that cannot be used.
    pub dead_letter_topic: String,
    /// Limits on the events that a window keeps.
    pub limits: Limits,
    /// Bytes of users kept in memory, over all workers.
    pub cache_bytes: usize,
    /// Most time (ms) that a user's stored window lags behind its features.
    pub checkpoint_ms: i64,
    /// True if the key prefix may be taken over.
    pub takeover: bool,
}

impl Config {
    /// The destination that the group's offset commits name: the prefix and the definitions, which all members of the
    /// group must agree on.
    pub fn writes_to(&self) -> String {
        let fingerprint = self.definitions.fingerprint();
        format!("key prefix {:?}, features {fingerprint}", self.key_prefix)
    }

    /// The owner of the key prefix while this featurizer runs on it.
    pub fn owner(&self) -> String {
        let Shared { group, topic, .. } = &self.shared;
        format!(
            "group {group}, topic {topic}, features {}",
            self.definitions.fingerprint()
        )
    }
}

/// The task that a command line names.
#[derive(Clone, Debug)]
pub enum Task {
    /// Run until stopped.
    Run,
    /// See [`Command::Explain`]; the time in epoch milliseconds.
    Explain {
        /// The user's id.
        user: String,
        /// Time of the evaluation (epoch ms); `None` for the stored hash's own.
        at: Option<i64>,
        /// The number of last events to show.
        last: usize,
        /// Print JSON, with all events.
        json: bool,
    },
    /// See [`Command::Validate`].
    Validate,
    /// See [`Command::Rebuild`].
    Rebuild(Rebuild),
    /// See [`Command::Doctor`].
    Doctor {
        /// Print JSON.
        json: bool,
    },
}

impl Flags {
    /// Validates the flags; the error lists every problem.
    pub fn validate(self) -> anyhow::Result<(Config, Task)> {
        let mut problems = Problems::default();
        let shared = self.shared.validate(&BINARY, &mut problems);
        let own = self.own;
        let redis = own.redis.validate(&mut problems);
        if let Some(access) = &redis
            && let Err(error) = crate::store::Redis::new(access)
        {
            problems.add(format!("--redis-url or its certificates: {error}"));
        }
        let definitions = definitions(own.features.as_ref(), &mut problems);
        let dead_letter_topic = own.dead_letter_topic.as_ref();
        let dead_letter_topic = self
            .shared
            .dead_letter_topic(dead_letter_topic, &mut problems);
        let exact_events = problems.take("--exact-events", &own.exact_events, |text| {
            let count = text
                .parse()
                .ok()
                .filter(|count| (1..=1_000_000).contains(count));
            count.ok_or_else(|| "use a number from 1 to 1000000".to_owned())
        });
        let cache_mb: Option<usize> = problems.take("--cache-mb", &own.cache_mb, |text| {
            let count = text
                .parse()
                .ok()
                .filter(|count| (1..=1_000_000).contains(count));
            count.ok_or_else(|| "use megabytes, from 1 to 1000000".to_owned())
        });
        let checkpoint = problems.take("--checkpoint", &own.checkpoint, |text| {
            let time = parse_duration(text)?;
            match time <= LONGEST_CHECKPOINT {
                true => Ok(time.as_millis() as i64),
                false => Err("use at most 10m".to_owned()),
            }
        });
        let task = match self.command {
            None => Some(Task::Run),
            Some(Command::Validate) => Some(Task::Validate),
            Some(Command::Rebuild {
                partition,
                wait,
                dry_run,
            }) => Some(Task::Rebuild(Rebuild {
                partition,
                dry_run,
                wait,
            })),
            Some(Command::Doctor { json }) => Some(Task::Doctor { json }),
            Some(Command::Explain {
                user,
                at,
                last,
                json,
            }) => {
                let at = match at {
                    Some(text) => problems.time("--at", &text).map(Some),
                    None => Some(None),
                };
                at.map(|at| Task::Explain {
                    user,
                    at,
                    last,
                    json,
                })
            }
        };
        problems.finish()?;
        let valid = (|| {
            let config = Config {
                shared: shared?,
                redis: redis?,
                key_prefix: own.key_prefix,
                definitions: definitions?,
                dead_letter_topic: dead_letter_topic?,
                limits: Limits {
                    exact_events: exact_events?,
                    forget: true,
                },
                cache_bytes: cache_mb? << 20,
                checkpoint_ms: checkpoint?,
                takeover: own.takeover,
            };
            Some((config, task?))
        })();
        valid.ok_or_else(|| anyhow::anyhow!("a flag was refused without saying why"))
    }
}

fn definitions(file: Option<&PathBuf>, problems: &mut Problems) -> Option<Definitions> {
    let Some(path) = file else {
        return Some(Definitions::standard());
    };
    let place = format!("--features {}", path.display());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.add(format!("{place}: {error}; name a file that can be read"));
            return None;
        }
    };
    match Definitions::parse(&text) {
        Ok(definitions) => Some(definitions),
        Err(found) => {
            found
                .iter()
                .for_each(|problem| problems.add(format!("{place}: {problem}")));
            None
        }
    }
}
