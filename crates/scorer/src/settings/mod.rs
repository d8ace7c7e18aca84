//! The scorer's flags, as they are written.

mod choices;
mod config;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use tidemill_core::command_line::BROKERS;
use tidemill_core::redis_access::RedisFlags;
use tidemill_core::settings::{Binary, SharedFlags};

pub use choices::{Guarantee, Reset, Start};
pub use config::Config;

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

    /// Beginning of all key names in Redis, as in the featurizer's flag of this name
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

    /// With --reset: show from and to, move nothing, and end
    #[arg(long, requires = "reset", conflicts_with = "yes")]
    pub dry_run: bool,

    /// Time that a batch may wait for features, and 10 us more for each of its users; 1 s if its oldest record is over
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
    /// Check a model: does it load, what does it take and score, golden vectors, latency; warns of what can hardly be meant.
    /// Exit code 1 if it cannot be used
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
        /// Print JSON: model, sha256, topic, from, to, compared, same_model, differing, differing_same_model, largest, raised,
        /// dropped, without_receipt, lost_offsets, cut_partitions, complete
        #[arg(long)]
        json: bool,
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
