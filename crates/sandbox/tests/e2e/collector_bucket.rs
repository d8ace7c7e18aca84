//! A data set in a bucket, by the real executable: killed, while the store is slow, busy, and loses answers.

use std::fs::{self, File};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result};
use sandbox::harness::{Binaries, Scene, until};
use sandbox::kafka::Producer;
use tokio::runtime::Runtime;

use crate::SOON;
use crate::collector::{POISON, assert_complete, labeled};
use crate::stub::{Faults, Stub};

/// The place of the data set.
const OUT: &str = "s3://bucket/some/set";

/// A collector whose store is the stub.
struct Bucketed {
    command: Command,
    child: Child,
}

impl Bucketed {
    fn start(scene: &Scene, endpoint: &str) -> Result<Bucketed> {
        let mut command = collector(endpoint)?;
        command
            .args(["--brokers", &scene.brokers, "--out", OUT, "--until-end"])
            .args(["--topic", &scene.names.labeled_events, "--rows", "200"])
            .args(["--admin-addr", "none"])
            .stderr(File::create(scene.folder().join("bucketed.log"))?);
        let child = command.spawn()?;
        Ok(Bucketed { command, child })
    }

    fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = self.command.spawn()?;
        Ok(())
    }
}

impl Drop for Bucketed {
    fn drop(&mut self) {
        // Mostly it has ended by itself.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The executable, with the usual variables of a bucket.
fn collector(endpoint: &str) -> Result<Command> {
    let mut command = Command::new(Binaries::build()?.path("collector"));
    let variables = [
        ("AWS_ENDPOINT", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "here"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    command.envs(variables);
    Ok(command)
}

#[test]
fn a_bucket_holds_every_record_once_after_kills_and_lost_answers() -> Result<()> {
    let scene = Scene::new("bucket", 3)?;
    let topic = &scene.names.labeled_events;
    let producer = Producer::open(&scene.brokers)?;
    for number in 0..12_000 {
        let (key, value) = (format!("k{number}"), labeled(number));
        let poison = POISON[number as usize / 50 % POISON.len()];
        let good = number % 50 != 7;
        let value = if good { Some(value.as_bytes()) } else { poison };
        producer.send(topic, Some(key.as_bytes()), value, None)?;
    }
    producer.flush()?;

    let runtime = Runtime::new()?;
    let faults = Faults {
        hiccups: Some(7),
        lost_answers: true,
        slow: Duration::from_millis(20),
        ..Faults::default()
    };
    let (stub, endpoint) = runtime.block_on(Stub::start(faults));
    let objects = || stub.objects.lock().map_or(0, |objects| objects.len());
    let mut bucketed = Bucketed::start(&scene, &endpoint)?;
    for kills in 1..5 {
        until("some more objects", SOON, || {
            let ended = bucketed.child.try_wait()?.is_some();
            Ok((ended || objects() >= 8 * kills).then_some(()))
        })?;
        bucketed.kill()?;
    }
    let status = until("the end", SOON, || Ok(bucketed.child.try_wait()?))?;
    let log = fs::read_to_string(scene.folder().join("bucketed.log"))?;
    assert!(status.success(), "{log}");
    assert!(objects() > 60, "{}", objects());

    let verified = collector(&endpoint)?.args(["verify", OUT]).output()?;
    let told = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success(), "{told}");
    // Read as files by what knows nothing of buckets.
    let folder = scene.data_set();
    for (key, object) in stub.objects.lock().ok().context("poisoned")?.iter() {
        let path = folder.join(key.strip_prefix("some/set/").context("another prefix")?);
        fs::create_dir_all(path.parent().context("no folder")?)?;
        fs::write(path, object)?;
    }
    assert_complete(&folder, &scene.read(topic)?)
}
