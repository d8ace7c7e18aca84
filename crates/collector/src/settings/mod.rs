//! The collector's flags, and the configuration that they make up.

mod config;
mod features;
pub mod metrics;

pub use config::{Config, Extent, Stretch};
pub use features::{FeatureFlags, Features};

use crate::dataset::store::Location;
use crate::encode::Codec;
use crate::encode::sampling::Enough;
use crate::encode::schema::Schema;
use crate::worker::memory::Budget;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Parser, Subcommand};
use std::path::PathBuf;
use tidemill_core::command_line::{BROKERS, CLAIMS};
use tidemill_core::settings::{Binary, Problems, Shared, SharedFlags, parse_duration};

/// The collector among the binaries.
pub const BINARY: Binary = Binary {
    name: "collector",
    version: env!("CARGO_PKG_VERSION"),
    group: "training-data-collector",
    topic: "labeled-events",
    admin_addr: "127.0.0.1:9103",
    metrics: metrics::METRICS,
    uses: &[
        ("verify", &[BROKERS, &["group", "topic"]]),
        ("inspect", &[]),
        ("rejects", &[]),
        (
            "infer",
            &[
                BROKERS,
                CLAIMS,
                &["group", "topic", "from", "to", "headers"],
            ],
        ),
    ],
};

/// Turns a Kafka topic into a Parquet data set that holds every record exactly once
#[derive(Parser, Clone, Debug)]
pub struct Flags {
    /// Flags of every binary.
    #[command(flatten)]
    pub shared: SharedFlags,

    /// Flags of collecting.
    #[command(flatten)]
    pub collect: CollectFlags,

    /// Flags of point-in-time features.
    #[command(flatten)]
    pub features: FeatureFlags,

    /// The command to run instead of collecting.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl AsRef<SharedFlags> for Flags {
    fn as_ref(&self) -> &SharedFlags {
        &self.shared
    }
}

/// The commands of the collector.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Check that a data set is whole; exit code 1 names what is wrong. With --brokers or --group also that the files
    /// reach as far as the group has got
    Verify {
        /// Folder or s3://bucket/prefix
        dir: String,
        /// Print JSON: files, rows, rejected, lost_offsets, and faults, which is empty where the data set is whole
        #[arg(long)]
        json: bool,
    },
    /// Show partitions, files, rows and schema of a data set; exit code 1 if there is none
    Inspect {
        /// Folder or s3://bucket/prefix
        dir: String,
        /// Print JSON: place, partitions, schema, misfits, unknown_features
        #[arg(long)]
        json: bool,
    },
    /// Print the records of a data set that could not become rows, one a line of JSON: topic, partition, offset,
    /// timestamp_ms, key, value (in base64 what is no text, as key_base64 or value_base64), reason, error. Mended, they can
    /// be sent again
    Rejects {
        /// Folder or s3://bucket/prefix
        dir: String,
    },
    /// Check flags, schema and feature definitions without starting; exit code 64 if they cannot be used
    Validate,
    /// Say what is wrong with brokers, topic, records, group or the place of the data set, with the remedy; exit code
    /// 1 on a problem
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the schema that takes all records of a stretch of the topic (--from, --to), for --schema
    Infer,
}

/// Flags of collecting, as the user wrote them.
#[derive(Args, Clone, Debug)]
pub struct CollectFlags {
    /// Place of the data set: a folder, or s3://bucket/prefix with the usual AWS_... variables
    #[arg(
        long,
        env = "TIDEMILL_OUT",
        default_value = "training_data",
        value_name = "DIR|URL",
        global = true
    )]
    pub out: String,

    /// Records of a file
    #[arg(
        long,
        env = "TIDEMILL_ROWS",
        default_value = "10000",
        value_name = "N",
        global = true
    )]
    pub rows: String,

    /// Time that records may wait for their file to fill
    #[arg(
        long,
        env = "TIDEMILL_MAX_AGE",
        default_value = "5m",
        value_name = "DURATION",
        global = true
    )]
    pub max_age: String,

    /// Bound of the memory for records, from the broker to the finished file, for all workers together [default: 512, or
    /// the least that the workers get by with]
    #[arg(long, env = "TIDEMILL_MEMORY_MB", value_name = "MB", global = true)]
    pub memory_mb: Option<String>,

    /// Schema of the data set, as infer prints it, or another's _schema.parquet [default: inferred from the first records]
    #[arg(long, env = "TIDEMILL_SCHEMA", value_name = "FILE", global = true)]
    pub schema: Option<PathBuf>,

    /// Usable records that a live run infers the schema from; a tenth of them once --schema-wait is over
    #[arg(
        long,
        env = "TIDEMILL_SCHEMA_RECORDS",
        default_value = "1000",
        value_name = "N",
        global = true,
        hide_short_help = true
    )]
    pub schema_records: String,

    /// Time to wait for so many, from the first on
    #[arg(
        long,
        env = "TIDEMILL_SCHEMA_WAIT",
        default_value = "30s",
        value_name = "DURATION",
        global = true,
        hide_short_help = true
    )]
    pub schema_wait: String,

    /// Keep record headers, in a column _headers; of their names, U+FFFD stands for bytes that are not UTF-8
    #[arg(long, env = "TIDEMILL_HEADERS", global = true, hide_short_help = true)]
    pub headers: bool,

    /// Compression of the files: none, snappy, lz4 or zstd
    #[arg(
        long,
        env = "TIDEMILL_COMPRESSION",
        default_value = "zstd",
        value_name = "CODEC",
        global = true,
        hide_short_help = true
    )]
    pub compression: String,

    /// Collect what the topic holds now, then end
    #[arg(long, env = "TIDEMILL_UNTIL_END", global = true)]
    pub until_end: bool,

    /// Collect from this time on (RFC 3339, a date, now, 1h ago, or an epoch number), then end: from the first record of
    /// this Kafka time or later
    #[arg(long, env = "TIDEMILL_FROM", value_name = "TIME", global = true)]
    pub from: Option<String>,

    /// Collect up to this time, which is not included, then end: up to the first record of this Kafka time or later
    #[arg(long, env = "TIDEMILL_TO", value_name = "TIME", global = true)]
    pub to: Option<String>,
}

/// More records than this wait in memory for no schema.
const MAX_SAMPLE: usize = 1_000_000;

/// A file of more rows than this would not fit the memory it is encoded in.
const MAX_ROWS: usize = 10_000_000;

/// Memory for records where nothing is asked for, in MB, unless the workers need more.
const MEMORY_MB: usize = 512;

impl Flags {
    /// Validates all flags; all problems are reported at once.
    pub fn validate(&self) -> anyhow::Result<Config> {
        let mut problems = Problems::default();
        let shared = self.shared.validate(&BINARY, &mut problems);
        let workers = shared.as_ref().map_or(1, |shared| shared.workers);
        let own = &self.collect;
        let out = problems.take("--out", &own.out, Location::parse);
        let rows = problems.take("--rows", &own.rows, |text| {
            let rows = text
                .parse()
                .ok()
                .filter(|rows| (1..=MAX_ROWS).contains(rows));
            rows.ok_or_else(|| format!("use a number from 1 to {MAX_ROWS}"))
        });
        let claim = shared.as_ref().map_or(0, config::largest_claim);
        let least = Budget::least(workers, claim).div_ceil(1 << 20);
        let memory = match &own.memory_mb {
            None => Some(MEMORY_MB.max(least)),
            Some(text) => problems.take("--memory-mb", text, |text| {
                let megabytes = text.parse().ok();
                let megabytes = megabytes.filter(|megabytes| (least..=1 << 20).contains(megabytes));
                megabytes.ok_or_else(|| {
                    format!("use at least {least} for {workers} workers, or fewer --workers")
                })
            }),
        };
        let max_age = problems.take("--max-age", &own.max_age, |text| {
            parse_duration(text).and_then(|age| match age.is_zero() {
                true => Err("use a duration above zero".into()),
                false => Ok(age),
            })
        });
        let records = problems.take("--schema-records", &own.schema_records, |text| {
            let records = text.parse().ok();
            let records = records.filter(|records| (1..=MAX_SAMPLE).contains(records));
            records.ok_or_else(|| format!("use a number from 1 to {MAX_SAMPLE}"))
        });
        let wait = problems.take("--schema-wait", &own.schema_wait, parse_duration);
        let codec = problems.take("--compression", &own.compression, Codec::parse);
        let stretch = self.stretch(&mut problems);
        let schema = own.schema.as_ref().and_then(|path| {
            let read = std::fs::read(path).map_err(anyhow::Error::from);
            let schema = read.and_then(|file| Schema::from_file(file.into()));
            let schema = schema.and_then(|schema| schema.refuse_twins().map(|()| schema));
            let told = schema
                .map_err(|error| problems.add(format!("--schema {}: {error:#}", path.display())));
            told.ok()
        });
        let features = self.features.validate(&mut problems);
        if self.features.features.is_some() && matches!(stretch, Some(None)) {
            problems.add("--features needs a bounded run: add --until-end, or --from and --to");
        }
        problems.finish()?;
        let complete = || -> Option<Config> {
            let extent = match stretch? {
                Some(stretch) => Extent::Stretch(stretch),
                None => Extent::Live { max_age: max_age? },
            };
            Some(Config {
                shared: shared?,
                out: out?,
                rows: rows?,
                memory: memory? << 20,
                schema,
                enough: Enough {
                    records: records?,
                    wait: wait?,
                },
                headers: own.headers,
                codec: codec?,
                extent,
                features,
            })
        };
        complete().ok_or_else(|| anyhow::anyhow!("a flag is missing although no problem was found"))
    }

    /// Brokers and group, where either is given on the command line.
    pub fn group_given(&self, matches: &ArgMatches) -> anyhow::Result<Option<Shared>> {
        let given = ["brokers", "group"].map(|flag| matches.value_source(flag));
        if !given.contains(&Some(ValueSource::CommandLine)) {
            return Ok(None);
        }
        let mut problems = Problems::default();
        let shared = self.shared.validate(&BINARY, &mut problems);
        problems.finish()?;
        Ok(shared)
    }

    /// The stretch to collect, `Some(None)` for a live run.
    fn stretch(&self, problems: &mut Problems) -> Option<Option<Stretch>> {
        let mut time = |flag, text: &Option<String>| match text {
            Some(text) => problems.time(flag, text).map(Some),
            None => Some(None),
        };
        let own = &self.collect;
        let (from, to) = (time("--from", &own.from), time("--to", &own.to));
        let (from, to) = (from?, to?);
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            problems.add("--from is not before --to: give an earlier time, or leave one out");
        }
        let bounded = own.until_end || from.is_some() || to.is_some();
        Some(bounded.then_some(Stretch { from, to }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_memory_than_the_workers_get_by_with_is_refused_with_the_number() {
        let validate = |workers: &str, more: &[&str]| {
            let flags = [
                "collector",
                "--group",
                "g",
                "--topic",
                "t",
                "--admin-addr",
                "none",
            ];
            let flags = [&flags, &["--workers", workers][..], more].concat();
            Flags::try_parse_from(flags).unwrap().validate()
        };
        let claims = ["--claims", ".", "--max-claim-mb", "10"];
        for (least, more) in [(240, &[][..]), (270, &claims[..])] {
            let with = |megabytes: usize| {
                let text = megabytes.to_string();
                validate("2", &[&["--memory-mb", text.as_str()], more].concat())
            };
            assert_eq!(with(least).unwrap().memory, least << 20);
            let error = with(least - 1).unwrap_err().to_string();
            let told = format!("use at least {least} for 2 workers");
            assert!(
                error.contains("--memory-mb") && error.contains(&told),
                "{error}"
            );
        }
        let unasked = |workers| validate(workers, &[]).unwrap().memory;
        assert_eq!((unasked("1"), unasked("8")), (512 << 20, 768 << 20));
    }
}
