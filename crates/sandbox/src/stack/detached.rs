//! The detached stack: `sandbox stack up`, `down` and `status`, with a state file of addresses and process ids.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tidemill_core::tell_line;

use super::{Kafka, PARTITIONS, Redis, TOPICS, kafka, redis, state_folder};
use crate::process::{Signal, is_alive};
use crate::progress;

/// The contents of `stack.json`.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    brokers: String,
    redis_url: String,
    kafka_pid: u32,
    redis_pid: u32,
}

impl State {
    fn answers(&self) -> bool {
        kafka::answers(&self.brokers) && redis::answers(&self.redis_url)
    }

    fn print(&self, what: &str) -> Result<()> {
        tell_line!("{what}")?;
        tell_line!("  Kafka  {}  (process {})", self.brokers, self.kafka_pid)?;
        tell_line!("  Redis  {}  (process {})", self.redis_url, self.redis_pid)?;
        tell_line!("for this shell:")?;
        tell_line!(
            "  export KAFKA_BROKERS={} REDIS_URL={}",
            self.brokers,
            self.redis_url
        )
    }
}

fn folder() -> PathBuf {
    state_folder().join("stack")
}

fn state_file() -> PathBuf {
    folder().join("stack.json")
}

fn read() -> Result<Option<State>> {
    let path = state_file();
    match fs::read(&path) {
        Ok(bytes) => {
            let state = serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "cannot read {}; stop its servers by hand and remove it",
                    path.display()
                )
            })?;
            Ok(Some(state))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// True while servers that [`up`] started answer.
pub(crate) fn is_up() -> Result<bool> {
    Ok(read()?.is_some_and(|state| state.answers()))
}

/// Starts a Kafka and a Redis on their usual ports, or on free ones, and returns while they run on.
pub fn up() -> Result<()> {
    if let Some(state) = read()? {
        if state.answers() {
            state.print("the stack is already up")?;
            return Ok(());
        }
        remove(&state)?;
    }
    let folder = folder();
    let spinner = progress::spinner("starting Redis and Kafka");
    let redis = Redis::start(&folder, Some(6379), true)?;
    let kafka = match Kafka::start(&folder, Some(9092), true) {
        Ok(kafka) => kafka,
        Err(error) => {
            Signal::Kill.send(redis.pid())?;
            return Err(error);
        }
    };
    let topics = crate::kafka::create_topics(&kafka.brokers(), &TOPICS, PARTITIONS);
    let state = State {
        brokers: kafka.brokers(),
        redis_url: redis.url(),
        kafka_pid: kafka.pid(),
        redis_pid: redis.pid(),
    };
    let text = serde_json::to_vec_pretty(&state)?;
    fs::write(state_file(), text)
        .with_context(|| format!("cannot write {}", state_file().display()))?;
    topics?;
    spinner.done("started Redis and Kafka");
    state.print("the stack is up; `sandbox stack down` ends it and removes its data")
}

/// Ends the servers that [`up`] started, and removes their data.
pub fn down() -> Result<()> {
    match read()? {
        None => tell_line!("no stack of ours is up")?,
        Some(state) => {
            remove(&state)?;
            tell_line!("the stack is down, its data removed")?;
        }
    }
    Ok(())
}

/// Prints if the detached stack answers; `true` if it does.
pub fn status() -> Result<bool> {
    let Some(state) = read()? else {
        tell_line!("no stack of ours is up; `sandbox stack up --detach` starts one")?;
        return Ok(false);
    };
    let answers = state.answers();
    state.print(if answers {
        "the stack is up"
    } else {
        "the stack was started but does not answer"
    })?;
    Ok(answers)
}

fn remove(state: &State) -> Result<()> {
    for (pid, marker) in [
        (state.kafka_pid, "kafka.Kafka"),
        (state.redis_pid, "redis-server"),
    ] {
        if is_ours(pid, marker) {
            Signal::Kill.send(pid)?;
            wait_for_end(pid, marker)?;
        }
    }
    remove_folder(&folder())
}

/// True if the process is still the one that was started: another may have got its id since.
fn is_ours(pid: u32, marker: &str) -> bool {
    let output = std::process::Command::new("ps")
        .args(["-o", "args=", "-p", &pid.to_string()])
        .output();
    match output {
        Ok(output) => String::from_utf8_lossy(&output.stdout).contains(marker),
        // Without `ps` the id has to do.
        Err(_) => is_alive(pid),
    }
}

fn wait_for_end(pid: u32, marker: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    // Not by its id: an ended process keeps that until its parent reaps it, which here may never happen.
    while is_ours(pid, marker) {
        if Instant::now() > deadline {
            bail!("process {pid} does not end");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn remove_folder(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}
