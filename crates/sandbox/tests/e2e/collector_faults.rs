//! Live collectors that are killed, stopped, replaced and joined at random: every record once, whatever happens.

use std::env;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use sandbox::harness::{Program, Scene, until};
use sandbox::kafka::Producer;
use sandbox::oracle::read_data_set;

use crate::collector::{POISON, assert_complete, assert_whole, labeled, rejected};

/// Longer than the group waits for a member that is silent: its partitions go to others meanwhile.
const ZOMBIE: Duration = Duration::from_millis(7_500);

/// Records and faults of a run; `COLLECTOR_FAULTS=long` for the long form.
fn extent() -> (u64, usize) {
    match env::var("COLLECTOR_FAULTS").as_deref() {
        Ok("long") => (400_000, 60),
        _ => (40_000, 9),
    }
}

fn produce(scene: &Scene, count: u64, pause: Duration) -> Result<()> {
    let producer = Producer::open(&scene.brokers)?;
    let topic = &scene.names.labeled_events;
    for number in 0..count {
        let (key, value) = (format!("k{number}"), labeled(number));
        let poison = POISON[number as usize / 50 % POISON.len()];
        let value = if number % 50 == 7 {
            poison
        } else {
            Some(value.as_bytes())
        };
        producer.send(topic, Some(key.as_bytes()), value, None)?;
        if number % 100 == 99 {
            thread::sleep(pause);
        }
    }
    producer.flush()
}

#[test]
fn every_record_is_collected_once_whatever_happens() -> Result<()> {
    let scene = Scene::new("collector-faults", 5)?;
    let (count, faults) = extent();
    let more = ["--rows", "400", "--max-age", "1s", "--workers", "2"];
    let mut replicas: Vec<Program> = ["one", "two", "three"]
        .iter()
        .map(|label| scene.collector(label, &more))
        .collect::<Result<_>>()?;
    let stage = &scene;
    thread::scope(|scope| -> Result<()> {
        // Spread over the faults, so that each meets records under way.
        let pause = Duration::from_millis(2_500) * faults as u32 / (count / 100) as u32;
        let producing = scope.spawn(move || produce(stage, count, pause));
        for round in 0..faults {
            let length = replicas.len();
            let victim = &mut replicas[round * 7 % length];
            match round % 4 {
                0 | 2 => {
                    // Not at one and the same step of its work.
                    thread::sleep(Duration::from_millis(37 * (round as u64 * 13 % 50)));
                    victim.kill()?;
                    victim.start_again()?;
                }
                1 => {
                    victim.pause()?;
                    thread::sleep(ZOMBIE);
                    victim.resume()?;
                }
                _ => {
                    assert!(victim.terminate()?.success(), "{}", victim.output());
                    victim.start_again()?;
                }
            }
        }
        producing.join().ok().context("the producer panicked")?
    })?;
    let folder = scene.data_set();
    until("all records", Duration::from_secs(120), || {
        let data_set = read_data_set(&folder)?;
        // While rejects are published before their rows, some are there that are not counted yet.
        let found = data_set.rows.len() + rejected(&folder)?.len();
        Ok((found as u64 >= count).then_some(()))
    })?;
    for replica in &mut replicas {
        assert!(replica.terminate()?.success(), "{}", replica.output());
    }
    // What a kill left beside the files is swept by the next start.
    let mut last = scene.collector("sweep", &["--until-end"])?;
    assert!(
        last.wait_for_end(crate::SOON)?.success(),
        "{}",
        last.output()
    );
    let log = scene.read(&scene.names.labeled_events)?;
    assert_eq!(log.len() as u64, count);
    assert_whole(&folder)?;
    assert_complete(&folder, &log)?;
    Ok(())
}
