//! A Kafka broker of our own: Apache Kafka in KRaft mode, one node, configured to start fast and stay small.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::secure::Listeners;
use super::server::Server;
use super::{START_LIMIT, jars, ports};
use crate::process::Launch;

/// A running broker.
#[derive(Debug)]
pub struct Kafka {
    server: Server,
}

impl Kafka {
    /// Formats `folder`, starts a broker on `port` if that is free, and waits until it answers.
    pub(crate) fn start(folder: &Path, port: Option<u16>, detached: bool) -> Result<Kafka> {
        Kafka::start_with(folder, port, detached, None)
    }

    /// The same with secure listeners in addition to the plain one.
    pub(super) fn start_with(
        folder: &Path,
        port: Option<u16>,
        detached: bool,
        secure: Option<&Listeners>,
    ) -> Result<Kafka> {
        if let Err(missing) = jars::available() {
            bail!(
                "cannot start a Kafka: {missing}; install what is missing, or point KAFKA_BROKERS to a running Kafka"
            );
        }
        let class_path = jars::folder()?.join("*");
        let port = port.map_or_else(ports::free, ports::free_or)?;
        let controller_port = ports::free()?;
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let properties = folder.join("server.properties");
        fs::write(
            &properties,
            configuration(&folder.join("kafka-data"), port, controller_port, secure),
        )
        .with_context(|| format!("cannot write {}", properties.display()))?;
        let users = secure.map_or_else(Vec::new, |_| Listeners::users());
        format(&class_path, &properties, &users)?;
        let launch = Launch {
            name: "kafka".to_owned(),
            program: PathBuf::from("java"),
            arguments: [
                "-Xmx512m".into(),
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".into(),
                "-cp".into(),
                class_path.into_os_string(),
                "kafka.Kafka".into(),
                properties.into_os_string(),
            ]
            .into(),
            environment: Vec::new(),
            folder: folder.to_owned(),
            detached,
        };
        let mut server = Server::spawn(launch, port, |port| answers(&address(port)))?;
        server.wait()?;
        Ok(Kafka { server })
    }

    /// `127.0.0.1:PORT`.
    pub fn brokers(&self) -> String {
        address(self.port())
    }

    /// Restarts the broker so that it advertises this address (host and port), where clients then connect.
    pub fn advertise(&mut self, address: &str) -> Result<()> {
        self.kill()?;
        let properties = self.process.folder().join("server.properties");
        let text = fs::read_to_string(&properties)?;
        let line = |name: &str| text.lines().find(|line| line.starts_with(name));
        let (listeners, protocols) = line("listeners=")
            .zip(line("listener.security.protocol.map="))
            .context("no listeners in the broker's settings")?;
        // Of two lines with one key the later counts. A client that hears the address forgets the one it came from, so
        // we check the broker on a listener of our own.
        let own = self::address(ports::free()?);
        fs::write(
            &properties,
            format!(
                "{text}{listeners},OWN://{own}\n{protocols},OWN:PLAINTEXT\n\
                 advertised.listeners=PLAINTEXT://{address},OWN://{own}\n"
            ),
        )?;
        self.process.start_again()?;
        self.process.wait_until(START_LIMIT, || answers(&own))
    }
}

impl Deref for Kafka {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Kafka {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// True if the brokers answer a metadata request within a second.
pub(super) fn answers(brokers: &str) -> bool {
    let client: rdkafka::error::KafkaResult<BaseConsumer> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        // Silent: the broker may not listen yet, which is what we check.
        .set("log_level", "0")
        .create();
    client
        .and_then(|client| client.fetch_metadata(None, Duration::from_secs(1)))
        .is_ok_and(|m| !m.brokers().is_empty())
}

/// The broker's settings; all others have Kafka's defaults.
fn configuration(
    data: &Path,
    port: u16,
    controller_port: u16,
    secure: Option<&Listeners>,
) -> String {
    let data = data.display();
    let (more, protocols, lines) = match secure {
        Some(secure) => (secure.addresses(), Listeners::protocols(), secure.lines()),
        None => Default::default(),
    };
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT{protocols}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{more}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{more}
log.dirs={data}
# One node holds every copy.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Fewer internal partitions: quicker to create, less to recover.
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=8
# The first member of a group need not wait 3 s for others.
group.initial.rebalance.delay.ms=0
# After kill -9 the broker may register again once its old session has run out.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# Topics are created on purpose, with a partition count of choice.
auto.create.topics.enable=false
# Simulated records may lie in the past; they must not be deleted for it.
log.retention.ms=-1
{lines}"
    )
}

/// Any id of the right form will do: every node of ours is a cluster of its own.
const CLUSTER_ID: &str = "tidemill-sandbox-stacA";

fn format(class_path: &Path, properties: &Path, users: &[String]) -> Result<()> {
    let output = Command::new("java")
        // It runs for half a second: the optimising compiler would not pay off.
        .args([
            "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
            "-cp",
        ])
        .arg(class_path)
        .args([
            "kafka.tools.StorageTool",
            "format",
            "--standalone",
            "--ignore-formatted",
        ])
        .args(["--cluster-id", CLUSTER_ID, "--config"])
        .arg(properties)
        .args(users)
        .stdin(Stdio::null())
        .output()
        .context("cannot run java to format Kafka's data folder")?;
    if !output.status.success() {
        bail!(
            "cannot format Kafka's data folder: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
