//! Featurizers that are killed, stopped, joined and left, and a Redis that forgets: no user's features are wrong after.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sandbox::harness::{Names, Program, Scene, until};
use sandbox::kafka::Producer;
use sandbox::oracle::{compare, histories};
use sandbox::simulate::now_ms;
use serde_json::json;

use crate::SOON;

const USERS: u32 = 1_500;
/// Duration of the faults.
const TROUBLE: Duration = Duration::from_secs(12);
/// Longer than the group waits for a member that is silent.
const BEYOND_SESSION: Duration = Duration::from_millis(7_500);

/// Sends events of many users until told to stop: now, in the past, out of order, useless, erasing.
fn traffic(scene: &Scene, seed: u64, stop: &AtomicBool) -> Result<u64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let producer = Producer::open(&scene.brokers)?;
    let topic = &scene.names.user_events;
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..40 {
            send_one(&producer, topic, &mut random, USERS)?;
            sent += 1;
        }
        // Paces the traffic; nothing waits for it.
        std::thread::sleep(Duration::from_millis(20));
    }
    producer.flush()?;
    Ok(sent)
}

fn send_one(producer: &Producer, topic: &str, random: &mut impl Rng, users: u32) -> Result<()> {
    let user = format!("u_{}", random.random_range(0..users));
    let value = match random.random_range(0..1_000u32) {
        0..3 => Some("{\"user_id\":".to_owned()),
        3 => None,
        _ => Some(event(random, &user)),
    };
    let value = value.as_deref().map(str::as_bytes);
    producer.send(topic, Some(user.as_bytes()), value, None)
}

fn event(random: &mut impl Rng, user: &str) -> String {
    const DAY_MS: i64 = 86_400_000;
    let ago_ms = match random.random_range(0..10u32) {
        0..6 => 0,
        6..9 => random.random_range(0..DAY_MS + 3_600_000),
        // Leaves the window while the test goes on.
        _ => DAY_MS - random.random_range(0..20_000),
    };
    let action = if random.random_bool(0.7) {
        "purchase"
    } else {
        "view"
    };
    let amount = f64::from(random.random_range(-5_000..50_000)) / 100.0;
    let timestamp = now_ms() - ago_ms;
    json!({"user_id": user, "action": action, "amount": amount, "timestamp": timestamp}).to_string()
}

/// Runs `faults` under traffic, and then finds every user's features exactly right.
fn survive(
    scene: &Scene,
    seed: u64,
    faults: impl FnOnce(&mut ChaCha8Rng, Instant) -> Result<Vec<Program>>,
) -> Result<()> {
    let stop = AtomicBool::new(false);
    let programs = std::thread::scope(|scope| {
        let sender = scope.spawn(|| traffic(scene, seed, &stop));
        let mut random = ChaCha8Rng::seed_from_u64(seed + 1);
        let programs = faults(&mut random, Instant::now() + TROUBLE);
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().ok().context("the sender panicked")??;
        ensure!(sent > 1_000, "only {sent} events were sent");
        programs
    })?;
    all_right(scene)?;
    for mut program in programs {
        assert!(program.terminate()?.success(), "{}", program.output());
    }
    Ok(())
}

/// Waits until the stored features are those of the whole topic, and none of them is overdue.
fn all_right(scene: &Scene) -> Result<()> {
    let histories = histories(&scene.read(&scene.names.user_events)?);
    let mut redis = scene.redis()?;
    let mut last = String::new();
    let right = until("every user's features", 2 * SOON, || {
        let found = compare(&histories, &mut redis, &scene.names.key_prefix)?;
        last = format!(
            "{} of {} users, {:?}",
            found.equal, found.users, found.wrong
        );
        Ok(found.holds().then_some(()))
    });
    right.with_context(|| last)?;
    until("decay to have no backlog", SOON, || {
        let overdue = histories.keys().filter(|user| {
            let key = scene.names.features_key(user);
            let until: Option<i64> = redis::cmd("HGET")
                .arg(key)
                .arg("_valid_until")
                .query(&mut redis)
                .unwrap();
            until.is_none_or(|until| until + 1_000 < now_ms())
        });
        Ok((overdue.count() == 0).then_some(()))
    })
}

#[test]
fn no_user_is_wrong_after_kills_at_random_moments() -> Result<()> {
    let scene = Scene::new("fz-kill", 4)?;
    survive(&scene, 11, |random, end| {
        let mut programs = vec![
            scene.featurizer("first", &[])?,
            scene.featurizer("second", &["--workers", "1"])?,
        ];
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(random.random_range(300..2_500)));
            let chosen = random.random_range(0..programs.len());
            programs[chosen].kill()?;
            programs[chosen].start_again()?;
        }
        Ok(programs)
    })
}

/// Partitions whose stored position has users ahead of it: a long batch that is written in part.
fn partly_written(scene: &Scene, redis: &mut redis::Connection) -> Result<usize> {
    let mut keys = redis::cmd("MGET");
    for partition in 0..4 {
        let Names {
            key_prefix,
            user_events,
            ..
        } = &scene.names;
        keys.arg(format!("{key_prefix}position:{user_events}:{partition}"));
    }
    let positions: Vec<Option<String>> = keys.query(redis)?;
    let ahead = |text: &String| !text.ends_with(" -");
    Ok(positions
        .iter()
        .flatten()
        .filter(|text| ahead(text))
        .count())
}

#[test]
fn no_user_is_wrong_after_kills_amid_long_batches() -> Result<()> {
    let scene = Scene::new("fz-long", 4)?;
    let mut random = ChaCha8Rng::seed_from_u64(16);
    let producer = Producer::open(&scene.brokers)?;
    for _ in 0..400_000 {
        send_one(&producer, &scene.names.user_events, &mut random, 20_000)?;
    }
    producer.flush()?;
    let mut redis = scene.redis()?;
    let mut program = scene.featurizer("featurizer", &["--workers", "1"])?;
    for _ in 0..2 {
        until("a batch written in part", SOON, || {
            if partly_written(&scene, &mut redis)? == 0 {
                return Ok(None);
            }
            program.kill()?;
            // A kill that came too late is none; the next batch will do.
            let hit = partly_written(&scene, &mut redis)? > 0;
            if !hit {
                program.start_again()?;
            }
            Ok(hit.then_some(()))
        })?;
        program.start_again()?;
    }
    all_right(&scene)?;
    assert!(program.terminate()?.success(), "{}", program.output());
    Ok(())
}

#[test]
fn no_user_is_wrong_after_zombies_awake() -> Result<()> {
    let scene = Scene::new("fz-zombie", 4)?;
    survive(&scene, 12, |_, _| {
        let mut programs = vec![
            scene.featurizer("first", &[])?,
            scene.featurizer("second", &[])?,
        ];
        for program in &mut programs {
            program.wait_ready()?;
        }
        for zombie in &programs {
            zombie.pause()?;
            std::thread::sleep(BEYOND_SESSION);
            zombie.resume()?;
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(programs)
    })
}

#[test]
fn no_user_is_wrong_after_scaling_out_and_in() -> Result<()> {
    let scene = Scene::new("fz-scale", 6)?;
    survive(&scene, 13, |random, end| {
        let mut programs = vec![scene.featurizer("featurizer-0", &[])?];
        for number in 1.. {
            if Instant::now() > end {
                break;
            }
            std::thread::sleep(Duration::from_millis(random.random_range(200..1_500)));
            if programs.len() < 2 || (programs.len() < 4 && random.random_bool(0.6)) {
                let label = format!("featurizer-{number}");
                programs.push(scene.featurizer(&label, &["--workers", "2"])?);
            } else {
                let chosen = random.random_range(0..programs.len());
                let mut program = programs.swap_remove(chosen);
                let status = program.terminate()?;
                ensure!(status.success(), "{status}: {}", program.output());
            }
        }
        Ok(programs)
    })
}

#[test]
fn no_user_is_wrong_after_redis_forgot_everything() -> Result<()> {
    let scene = Scene::new("fz-forget", 3)?;
    survive(&scene, 14, |random, end| {
        let mut programs = vec![scene.featurizer("featurizer", &[])?];
        programs[0].wait_ready()?;
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(random.random_range(500..4_000)));
            forget(&scene)?;
        }
        Ok(programs)
    })?;
    // And on a topic where nothing happens any more.
    let mut program = scene.featurizer("again", &[])?;
    program.wait_ready()?;
    forget(&scene)?;
    all_right(&scene)?;
    assert!(program.terminate()?.success());
    Ok(())
}

/// Deletes every key of the scene in one step, as FLUSHALL would if the Redis were not shared.
fn forget(scene: &Scene) -> Result<()> {
    let script = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end";
    let pattern = format!("{}*", scene.names.key_prefix);
    let mut redis = scene.redis()?;
    redis::cmd("EVAL")
        .arg(script)
        .arg(0)
        .arg(pattern)
        .query::<()>(&mut redis)?;
    Ok(())
}

#[test]
fn no_user_is_wrong_after_redis_lost_its_last_writes() -> Result<()> {
    let scene = Scene::new("fz-lost", 2)?;
    survive(&scene, 15, |random, end| {
        let mut programs = vec![scene.featurizer("featurizer", &[])?];
        programs[0].wait_ready()?;
        let mut redis = scene.redis()?;
        while Instant::now() < end {
            // An instant of everything, put back a little later: what a replica that lags behind brings at fail-over.
            let saved = save(&scene, &mut redis)?;
            std::thread::sleep(Duration::from_millis(random.random_range(100..1_500)));
            put_back(&scene, &mut redis, &saved)?;
            std::thread::sleep(Duration::from_millis(random.random_range(500..1_500)));
        }
        Ok(programs)
    })
}

/// Name, remaining life in milliseconds and dump of every key.
type Saved = Vec<(Vec<u8>, i64, Vec<u8>)>;

fn save(scene: &Scene, redis: &mut redis::Connection) -> Result<Saved> {
    let script = "local all = {} for _, key in ipairs(redis.call('KEYS', ARGV[1])) do \
        table.insert(all, {key, redis.call('PTTL', key), redis.call('DUMP', key)}) end return all";
    let pattern = format!("{}*", scene.names.key_prefix);
    Ok(redis::cmd("EVAL")
        .arg(script)
        .arg(0)
        .arg(pattern)
        .query(redis)?)
}

fn put_back(scene: &Scene, redis: &mut redis::Connection, saved: &Saved) -> Result<()> {
    let mut all = redis::pipe();
    all.atomic();
    let pattern = format!("{}*", scene.names.key_prefix);
    let script = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end";
    all.cmd("EVAL").arg(script).arg(0).arg(pattern).ignore();
    for (key, life_ms, dump) in saved {
        all.cmd("RESTORE")
            .arg(key)
            .arg((*life_ms).max(0))
            .arg(dump)
            .arg("REPLACE")
            .ignore();
    }
    all.query::<()>(redis)?;
    Ok(())
}
