//! The flags that all three binaries share, and their validation into a configuration.
//!
//! Flags are taken as text and validated together by [`Problems`], so that a start reports every problem at once, each
//! with flag, value and remedy.

mod problems;
mod time;

pub use problems::Problems;
pub use time::{duration_text, echo, parse_duration, parse_time};

use crate::claim::{ClaimFlags, Claims};
use crate::command_line::Uses;
use crate::kafka::{KafkaConfig, parse_brokers, read_properties};
use crate::metric::Metric;
use crate::status::Token;
use crate::telemetry::LogFormat;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The properties in which the binaries differ.
#[derive(Clone, Copy, Debug)]
pub struct Binary {
    /// Its name, as in logs and metrics.
    pub name: &'static str,
    /// Its version, as in `--version`.
    pub version: &'static str,
    /// Default of `--group`.
    pub group: &'static str,
    /// Default of `--topic`.
    pub topic: &'static str,
    /// Default of `--admin-addr`.
    pub admin_addr: &'static str,
    /// Its metrics, on top of those that every binary has.
    pub metrics: &'static [Metric],
    /// Subcommands that use only some of the flags of a start, each with those.
    pub uses: &'static [(&'static str, Uses)],
}

/// Flags of every binary; each may be given by its environment variable instead.
#[derive(clap::Args, Clone, Debug)]
pub struct SharedFlags {
    /// Kafka brokers, host:port separated by commas
    #[arg(
        long,
        env = "KAFKA_BROKERS",
        default_value = "localhost:9092",
        global = true
    )]
    pub brokers: String,

    /// File of librdkafka properties (property=value lines) for TLS, SASL and tuning
    #[arg(
        long,
        env = "KAFKA_CONFIG",
        value_name = "FILE",
        global = true,
        hide_short_help = true
    )]
    pub kafka_config: Option<PathBuf>,

    /// Consumer group
    #[arg(long, env = "KAFKA_GROUP", default_value = "", global = true)]
    pub group: String,

    /// Input topic
    #[arg(long, env = "TIDEMILL_TOPIC", default_value = "", global = true)]
    pub topic: String,

    /// Worker threads, each a consumer of its own [default: number of cores, at most 4]
    #[arg(long, env = "TIDEMILL_WORKERS", value_name = "N", global = true)]
    pub workers: Option<String>,

    /// Address of the live page, /metrics, /healthz and /readyz, or none
    #[arg(
        long,
        env = "ADMIN_ADDR",
        value_name = "HOST:PORT",
        global = true,
        hide_short_help = true
    )]
    pub admin_addr: Option<String>,

    /// File with the token that opens the live page, which without one answers on this machine only
    #[arg(
        long,
        env = "TIDEMILL_ADMIN_TOKEN_FILE",
        value_name = "FILE",
        global = true,
        hide_short_help = true
    )]
    pub admin_token_file: Option<PathBuf>,

    /// Time limit for reaching brokers and Redis at start
    #[arg(
        long,
        env = "TIDEMILL_CONNECT_TIMEOUT",
        default_value = "30s",
        value_name = "DURATION",
        global = true,
        hide_short_help = true
    )]
    pub connect_timeout: String,

    /// Log lines as text or json; RUST_LOG selects levels
    #[arg(
        long,
        env = "TIDEMILL_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT",
        global = true,
        hide_short_help = true
    )]
    pub log_format: String,

    /// Show the configuration in effect, secrets hidden, and end; with the exit code of a start where it cannot be used
    #[arg(long, hide_short_help = true)]
    pub print_config: bool,

    /// Flags of claims.
    #[command(flatten)]
    pub claims: ClaimFlags,
}

/// The shared flags, validated.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The way to the brokers.
    pub kafka: KafkaConfig,
    /// Consumer group.
    pub group: String,
    /// Input topic.
    pub topic: String,
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Address of the admin pages; `None` for no pages.
    pub admin: Option<AdminAddr>,
    /// The token that opens the pages with records and users.
    pub admin_token: Option<Token>,
    /// Time limit for reaching brokers and Redis at start.
    pub connect_timeout: Duration,
    /// The store of claimed objects.
    pub claims: Claims,
}

/// The address of the admin pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminAddr {
    /// Address and port to bind.
    pub addr: SocketAddr,
    /// Nobody gave it: if it is in use, a free port will do.
    pub default: bool,
}

impl SharedFlags {
    /// The topic for records that cannot be used: the one given, or the input topic's name and `.dead-letter`.
    pub fn dead_letter_topic(
        &self,
        given: Option<&String>,
        problems: &mut Problems,
    ) -> Option<String> {
        let usual = format!("{}.dead-letter", self.topic);
        let topic = given.unwrap_or(&usual);
        problems.differ(("--topic", &self.topic), ("--dead-letter-topic", topic));
        problems.take("--dead-letter-topic", topic, parse_topic)
    }

    /// The way to the brokers, and its problems.
    fn kafka(&self) -> (KafkaConfig, Vec<String>) {
        let file = self.kafka_config.as_ref();
        let (properties, mut problems) =
            file.map_or_else(Default::default, |path| read_properties(path));
        let protocol = properties.get("security.protocol");
        let protocol = protocol.map_or("plaintext", String::as_str);
        let (brokers, found) = parse_brokers(&self.brokers, protocol);
        problems.extend(found);
        let kafka = KafkaConfig::new(brokers, properties);
        problems.extend(kafka.problems());
        (kafka, problems)
    }

    /// Adds to `problems` those that the Kafka properties have only in a transactional producer.
    pub fn check_transactions(&self, problems: &mut Problems) {
        problems.0.extend(self.kafka().0.transactional_problems());
    }

    /// Validates the shared flags, adding to `problems`; `None` if any was found.
    pub fn validate(&self, binary: &Binary, problems: &mut Problems) -> Option<Shared> {
        let before = problems.0.len();
        let (kafka, found) = self.kafka();
        problems.0.extend(found);
        if self.group.is_empty() {
            problems.add("--group is empty: give the consumer group a name");
        }
        problems.take("--topic", &self.topic, parse_topic);
        problems.take("--log-format", &self.log_format, str::parse::<LogFormat>);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = match &self.workers {
            Some(text) => problems.take("--workers", text, parse_workers),
            None => Some(cores.min(4)),
        };
        let default = self.admin_addr.is_none();
        let admin = match self.admin_addr.as_deref().unwrap_or(binary.admin_addr) {
            "none" => Some(None),
            text => problems.take("--admin-addr", text, |text| {
                let addr = text.parse().map_err(|_| {
                    "use an address and port such as 127.0.0.1:9101, or none".to_owned()
                })?;
                Ok(Some(AdminAddr { addr, default }))
            }),
        };
        let admin_token = self.admin_token_file.as_ref().and_then(|path| {
            problems.take("--admin-token-file", &path.display().to_string(), |_| {
                Token::read(path)
            })
        });
        let timeout = problems.take("--connect-timeout", &self.connect_timeout, parse_duration);
        let claims = self.claims.validate(problems);
        if problems.0.len() > before {
            return None;
        }
        Some(Shared {
            kafka,
            group: self.group.clone(),
            topic: self.topic.clone(),
            workers: workers?,
            admin: admin?,
            admin_token,
            connect_timeout: timeout?,
            claims: claims?,
        })
    }
}

/// Parses a topic name, with Kafka's rules.
pub fn parse_topic(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=249).contains(&text.len()) && text.chars().all(legal) && text != "." && text != ".." {
        Ok(text.to_owned())
    } else {
        Err("a topic has 1 to 249 letters, digits, dots, underscores and hyphens".into())
    }
}

fn parse_workers(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=256).contains(count));
    count.ok_or_else(|| "use a number from 1 to 256".into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::command_line::described;
    use crate::exit::Code;
    use clap::{CommandFactory, FromArgMatches, Parser};

    pub(crate) const BINARY: Binary = Binary {
        name: "mill",
        version: "1.2.3",
        group: "millers",
        topic: "grain",
        admin_addr: "127.0.0.1:9101",
        metrics: &[],
        uses: &[],
    };

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        shared: SharedFlags,
    }

    pub(crate) fn validate(flags: &[&str]) -> Result<Shared, String> {
        let words = ["mill"].iter().chain(flags);
        let matches = described(&BINARY, Flags::command()).get_matches_from(words);
        let flags = Flags::from_arg_matches(&matches).unwrap();
        let mut problems = Problems::default();
        let shared = flags.shared.validate(&BINARY, &mut problems);
        match problems.finish() {
            Ok(()) => Ok(shared.unwrap()),
            Err(error) => {
                assert_eq!(crate::exit::Failure::code(&error), Code::Usage);
                Err(error.to_string())
            }
        }
    }

    #[test]
    fn defaults_are_the_binarys_own() {
        let shared = validate(&[]).unwrap();
        assert_eq!(
            (shared.group.as_str(), shared.topic.as_str()),
            ("millers", "grain")
        );
        assert!(shared.admin.unwrap().default);
        let given = validate(&["--admin-addr", BINARY.admin_addr]).unwrap();
        assert!(!given.admin.unwrap().default);
        assert_eq!(shared.connect_timeout, Duration::from_secs(30));
        assert_eq!(validate(&["--admin-addr", "none"]).unwrap().admin, None);
    }

    #[test]
    fn all_problems_are_told_at_once_with_flag_and_value() {
        let bad = [
            "--workers",
            "0",
            "--topic",
            "a b",
            "--connect-timeout",
            "5",
            "--admin-addr",
            "x",
            "--kafka-config",
            "/no/such",
            "--brokers",
            "a:1,http://b:2,c:99999",
        ];
        let told = validate(&bad).unwrap_err();
        for part in [
            "7 problems",
            "--brokers \"http://b:2\"",
            "--brokers \"c:99999\"",
            "--workers \"0\"",
            "--topic \"a b\"",
            "--connect-timeout \"5\"",
            "--admin-addr \"x\"",
            "/no/such",
        ] {
            assert!(told.contains(part), "{part} is not in: {told}");
        }
    }
}
