//! A disk that takes no more: nothing is lost, nothing half visible, and it goes on by itself.

use std::fs::{self, File};
use std::process::Command;

use anyhow::{Result, ensure};
use sandbox::harness::{Binaries, Scene, until};
use sandbox::kafka::Producer;
use sandbox::oracle::read_data_set;

use crate::SOON;
use crate::collector::{assert_complete, assert_whole, labeled};

/// Starts what follows with files of at most 16 KiB, so that a write fails midway as on a full disk.
const FULL: &str = "trap '' XFSZ; ulimit -S -f 16; exec \"$0\" \"$@\"";

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

    let (folder, log) = (scene.data_set(), scene.folder().join("full.log"));
    let mut collector = Command::new("bash")
        .args(["-c", FULL])
        .arg(Binaries::build()?.path("collector"))
        .args(["--brokers", &scene.brokers, "--topic", topic])
        .args(["--until-end", "--admin-addr", "none", "--out"])
        .arg(&folder)
        .stderr(File::create(&log)?)
        .spawn()?;
    let met = until("a failed write", SOON, || {
        let told = fs::read_to_string(&log)?.contains("publishing failed");
        Ok(told.then_some(()))
    });
    let visible = read_data_set(&folder).map(|found| found.files.len());
    // Room again; whatever was found, the process must not outlive the test.
    let freed = Command::new("prlimit")
        .args(["--fsize=unlimited:unlimited", "--pid"])
        .arg(collector.id().to_string())
        .status();
    let ended = until("the end", SOON, || Ok(collector.try_wait()?));
    if ended.is_err() {
        collector.kill()?;
        collector.wait()?;
    }
    met?;
    ensure!(freed?.success(), "prlimit");
    assert!(ended?.success(), "{}", fs::read_to_string(&log)?);
    assert_eq!(visible?, 0, "nothing is visible while nothing fits");
    assert_whole(&folder)?;
    assert_complete(&folder, &scene.read(topic)?)?;
    let staged = folder.join("_staging").exists();
    assert!(!staged, "files are written without a name");
    Ok(())
}
