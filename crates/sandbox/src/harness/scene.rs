//! The surroundings of one test: names of its own on the shared stack, a folder, and the three binaries using them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::binaries::Binaries;
use super::names::Names;
use super::program::Program;
use crate::kafka::{Isolation, Producer, Stored, read_all};
use crate::place::home;
use crate::stack::{Stack, scratch, state_folder};

/// Addresses, names and a folder, which is removed on drop.
pub struct Scene {
    /// Addresses of the brokers.
    pub brokers: String,
    /// Address of Redis.
    pub redis_url: String,
    /// Names that nobody else uses.
    pub names: Names,
    /// Environment variables for the programs that are started, in addition to ours.
    pub environment: Vec<(String, String)>,
    /// Executables of another build to start; `None` starts those of this checkout.
    pub binaries: Option<Binaries>,
    folder: PathBuf,
    keep_folder: bool,
}

impl Scene {
    /// A scene on the stack that all tests share, with its three input topics created, `partitions` each.
    pub fn new(purpose: &str, partitions: i32) -> Result<Scene> {
        let stack = Stack::shared()?;
        let mut scene = Scene::on(stack, Names::unique(purpose), partitions)?;
        // Tests send few records, and look for their files at once.
        let few = [
            ("TIDEMILL_SCHEMA_RECORDS", "10"),
            ("TIDEMILL_SCHEMA_WAIT", "1s"),
        ];
        let few = few.map(|(name, value)| (name.to_owned(), value.to_owned()));
        scene.environment.extend(few);
        Ok(scene)
    }

    /// A scene on a given stack under given names.
    pub fn on(stack: &Stack, names: Names, partitions: i32) -> Result<Scene> {
        let topics = [
            &names.user_events,
            &names.transactions,
            &names.labeled_events,
        ];
        stack.create_topics(&topics.map(String::as_str), partitions)?;
        Scene::at(stack.brokers(), stack.redis_url(), names)
    }

    /// A scene on any servers, without creating topics.
    pub fn at(brokers: &str, redis_url: &str, names: Names) -> Result<Scene> {
        Ok(Scene {
            brokers: brokers.to_owned(),
            redis_url: redis_url.to_owned(),
            names,
            environment: Vec::new(),
            binaries: None,
            folder: scratch::folder(&state_folder())?,
            keep_folder: false,
        })
    }

    /// Folder in which the binaries run, log and, in `training_data`, write Parquet files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps the folder when the scene is dropped.
    pub fn keep_folder(&mut self) {
        self.keep_folder = true;
    }

    /// Folder that the collector writes to.
    pub fn data_set(&self) -> PathBuf {
        self.folder.join("training_data")
    }

    /// The model that comes with the programs.
    pub fn model(&self) -> Result<PathBuf> {
        Ok(home()?.join("models/fraud.onnx"))
    }

    /// The schema of labeled events that comes with the programs.
    pub fn labels_schema(&self) -> Result<String> {
        let path = home()?.join("models/labeled-events.json");
        Ok(path.display().to_string())
    }

    /// Starts a featurizer with the scene's names, followed by more arguments.
    pub fn featurizer(&self, label: &str, more: &[&str]) -> Result<Program> {
        let names = &self.names;
        let own = [
            "--redis-url",
            &self.redis_url,
            "--key-prefix",
            &names.key_prefix,
        ];
        let all = self.arguments(&names.featurizer_group, &names.user_events, &own, more);
        self.start("featurizer", label, all)
    }

    /// Starts a scorer with the scene's names, from the topic's start, followed by more arguments.
    pub fn scorer(&self, label: &str, more: &[&str]) -> Result<Program> {
        let names = &self.names;
        let model = self.model()?;
        let model = model.to_str().context("the checkout's path is not UTF-8")?;
        let own = [
            "--redis-url",
            &self.redis_url,
            "--key-prefix",
            &names.key_prefix,
            "--output-topic",
            &names.predictions,
            "--model",
            model,
            "--start",
            "earliest",
        ];
        let all = self.arguments(&names.scorer_group, &names.transactions, &own, more);
        self.start("scorer", label, all)
    }

    /// Starts a collector with the scene's names, followed by more arguments.
    pub fn collector(&self, label: &str, more: &[&str]) -> Result<Program> {
        let names = &self.names;
        let all = self.arguments(&names.collector_group, &names.labeled_events, &[], more);
        self.start("collector", label, all)
    }

    fn start(&self, name: &str, label: &str, arguments: Vec<OsString>) -> Result<Program> {
        let program = match &self.binaries {
            Some(binaries) => binaries.path(name),
            None => Binaries::build()?.path(name),
        };
        Program::start_in(&self.environment, program, label, &self.folder, arguments)
    }

    fn arguments(&self, group: &str, topic: &str, own: &[&str], more: &[&str]) -> Vec<OsString> {
        let shared = [
            "--brokers",
            &self.brokers,
            "--group",
            group,
            "--topic",
            topic,
        ];
        let pairs = shared.chunks(2).chain(own.chunks(2));
        // Arguments of the test replace ours.
        let ours = pairs.filter(|pair| !more.contains(&pair[0])).flatten();
        ours.chain(more).map(Into::into).collect()
    }

    /// Sends keys and values to a topic, and waits until they have arrived.
    pub fn send(&self, topic: &str, records: &[(Option<&str>, Option<&str>)]) -> Result<()> {
        let producer = Producer::open(&self.brokers)?;
        for (key, value) in records {
            producer.send(
                topic,
                key.map(str::as_bytes),
                value.map(str::as_bytes),
                None,
            )?;
        }
        producer.flush()
    }

    /// All committed records of a topic.
    pub fn read(&self, topic: &str) -> Result<Vec<Stored>> {
        read_all(&self.brokers, topic, Isolation::ReadCommitted)
    }

    /// A connection to Redis.
    pub fn redis(&self) -> Result<redis::Connection> {
        let client = redis::Client::open(self.redis_url.as_str())?;
        client
            .get_connection()
            .with_context(|| format!("no Redis answers at {}", self.redis_url))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // A failed test's folder stays until its process is gone, so that its logs can be read.
        if !self.keep_folder && !std::thread::panicking() {
            let _left = fs::remove_dir_all(&self.folder);
        }
    }
}
