//! A disk that takes no more: nothing is lost, nothing half visible, and it goes on by itself.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

use anyhow::{Result, ensure};
use sandbox::harness::{Binaries, Scene, until};
use sandbox::kafka::Producer;
use sandbox::oracle::read_data_set;

use crate::SOON;
use crate::collector::{assert_complete, assert_whole, labeled};

/// Starts what follows with files of at most 16 KiB, so that a write fails midway as on a full disk.
const FULL: &str = "trap '' XFSZ; ulimit -S -f 16; exec \"$0\" \"$@\"";

/// A bounded run whose disk is full; whatever a test finds, it does not outlive it.
struct Stuck {
    process: Child,
    log: PathBuf,
}

impl Stuck {
    /// Starts it, and waits until it has failed to write.
    fn start(scene: &Scene) -> Result<Stuck> {
        let log = scene.folder().join("full.log");
        let process = Command::new("bash")
            .args(["-c", FULL])
            .arg(Binaries::build()?.path("collector"))
            .args(["--brokers", &scene.brokers])
            .args(["--topic", &scene.names.labeled_events])
            .args(["--until-end", "--admin-addr", "none", "--out"])
            .arg(scene.data_set())
            .stderr(File::create(&log)?)
            .spawn()?;
        let stuck = Stuck { process, log };
        until("a failed write", SOON, || {
            let told = stuck.told()?.contains("publishing failed");
            Ok(told.then_some(()))
        })?;
        Ok(stuck)
    }

    fn told(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Gives it room again, and waits for its end.
    fn free(&mut self) -> Result<ExitStatus> {
        let freed = Command::new("prlimit")
            .args(["--fsize=unlimited:unlimited", "--pid"])
            .arg(self.process.id().to_string())
            .status()?;
        ensure!(freed.success(), "prlimit");
        until("the end", SOON, || Ok(self.process.try_wait()?))
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[test]
fn a_full_disk_is_waited_for() -> Result<()> {
    let scene = Scene::new("full-disk", 2)?;
    let topic = &scene.names.labeled_events;
    let producer = Producer::open(&scene.brokers)?;
    for number in 0..20_000 {
        let (key, value) = (format!("k{number}"), labeled(number));
        producer.send(topic, Some(key.as_bytes()), Some(value.as_bytes()), None)?;
    }
    producer.flush()?;

    let folder = scene.data_set();
    let mut stuck = Stuck::start(&scene)?;
    let visible = read_data_set(&folder)?.files.len();
    assert_eq!(visible, 0, "nothing is visible while nothing fits");
    assert!(stuck.free()?.success(), "{}", stuck.told()?);
    assert_whole(&folder)?;
    assert_complete(&folder, &scene.read(topic)?)?;
    let staged = folder.join("_staging").exists();
    assert!(!staged, "files are written without a name");
    Ok(())
}

/// The first run is at its end when the second publishes a part of its range.
#[test]
fn bounded_runs_that_overlap_leave_nothing_out() -> Result<()> {
    let scene = Scene::new("overlap", 1)?;
    let topic = &scene.names.labeled_events;
    let producer = Producer::open(&scene.brokers)?;
    let base = 1_771_000_000_000_i64;
    for number in 0..4_000_u64 {
        let (value, time) = (labeled(number), Some(base + number as i64));
        producer.send(topic, Some(b"k"), Some(value.as_bytes()), time)?;
    }
    producer.flush()?;
    let mut first = Stuck::start(&scene)?;
    let half = (base + 2_000).to_string();
    let mut second = scene.collector("second", &["--to", &half])?;
    assert!(second.wait_for_end(SOON)?.success(), "{}", second.output());
    let folder = scene.data_set();
    assert_eq!(read_data_set(&folder)?.rows.len(), 2_000);
    assert!(first.free()?.success(), "{}", first.told()?);
    assert_whole(&folder)?;
    assert_complete(&folder, &scene.read(topic)?)
}
