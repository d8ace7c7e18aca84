//! Processes killed, paused and cut off at random moments under live traffic; in the end nothing is lost or doubled.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sandbox::harness::{Link, Program, Scene, until};
use sandbox::oracle::{compare, histories, read_data_set};
use sandbox::progress;
use sandbox::simulate::{Plan, Settings, Sink, Written, now_ms, run};
use tokio_util::sync::CancellationToken;

use crate::SOON;

/// Live traffic while `faults` happen; whatever they do, the traffic goes on to its end.
fn under_traffic(
    scene: &Scene,
    seed: u64,
    faults: impl FnOnce(ChaCha8Rng) -> Result<()>,
) -> Result<Written> {
    let plan = Plan {
        settings: Settings {
            seed,
            start_ms: now_ms(),
            rate: 500.0,
            count: 15_000,
            customers: 1_000,
            fraud_share: 0.02,
            label_delay_ms: 500.0,
            browsing: 0.5,
        },
        paced: true,
    };
    let mut sink = Sink::kafka(&scene.brokers, scene.names.topics())?;
    thread::scope(|scope| {
        let bar = progress::bar(plan.settings.count, "payments");
        let traffic = scope.spawn(move || run(&plan, &mut sink, &bar, &CancellationToken::new()));
        faults(ChaCha8Rng::seed_from_u64(seed))?;
        traffic
            .join()
            .map_err(|_| anyhow!("the traffic panicked"))?
    })
}

/// `kill -9` after a random while in which it is ready and working, and a new start; several times.
fn kill_at_random(program: &mut Program, mut rng: ChaCha8Rng) -> Result<()> {
    for _ in 0..4 {
        program.wait_ready()?;
        thread::sleep(Duration::from_millis(rng.random_range(0..2_000)));
        program.kill()?;
        program.start_again()?;
    }
    program.wait_ready()
}

/// Stands still longer than a session lasts, so that the other takes over, then goes on as if nothing had happened.
fn pause_beyond_session(zombie: &Program, other: &mut Program) -> Result<()> {
    zombie.pause()?;
    thread::sleep(Duration::from_secs(9));
    other.wait_ready()?;
    zombie.resume()
}

fn assert_features_right(scene: &Scene) -> Result<()> {
    let histories = histories(&scene.read(&scene.names.user_events)?);
    // Who of the 1,000 buys depends on the hour of the day; enough of them do at any.
    assert!(histories.len() > 700, "{} users", histories.len());
    let mut redis = scene.redis()?;
    let mut last = compare(&histories, &mut redis, &scene.names.key_prefix)?;
    let right = until("all features to be right", SOON, || {
        last = compare(&histories, &mut redis, &scene.names.key_prefix)?;
        Ok(last.holds().then_some(()))
    });
    assert!(
        right.is_ok(),
        "{} of {} users right: {:?}",
        last.equal,
        last.users,
        last.wrong
    );
    Ok(())
}

fn assert_each_scored_once(scene: &Scene, written: &Written) -> Result<()> {
    until("all predictions", SOON, || {
        let count = scene.read(&scene.names.predictions)?.len() as u64;
        Ok((count >= written.transactions).then_some(()))
    })?;
    let mut scored: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for prediction in scene.read(&scene.names.predictions)? {
        *scored
            .entry(prediction.key.unwrap_or_default())
            .or_default() += 1;
    }
    let transactions = scene.read(&scene.names.transactions)?;
    assert_eq!(transactions.len() as u64, written.transactions);
    let lost = transactions
        .iter()
        .filter(|t| !scored.contains_key(t.key.as_deref().unwrap_or_default()))
        .count();
    let doubled = scored.values().filter(|count| **count > 1).count();
    assert_eq!(
        (lost, doubled),
        (0, 0),
        "lost and doubled of {}",
        transactions.len()
    );
    Ok(())
}

fn assert_rows_are_the_log(scene: &Scene) -> Result<()> {
    let log = scene.read(&scene.names.labeled_events)?;
    until("all rows", SOON, || {
        Ok((read_data_set(&scene.data_set())?.rows.len() >= log.len()).then_some(()))
    })?;
    let wrong = read_data_set(&scene.data_set())?.differences(&log);
    assert!(
        wrong.is_empty(),
        "{} wrong, first {:?}",
        wrong.len(),
        wrong.first()
    );
    Ok(())
}

#[test]
fn a_featurizer_killed_at_random_leaves_every_feature_right() -> Result<()> {
    let scene = Scene::new("kill-featurizer", 4)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    under_traffic(&scene, 41, |rng| kill_at_random(&mut featurizer, rng))?;
    assert_features_right(&scene)
}

#[test]
fn a_scorer_killed_at_random_scores_each_payment_once() -> Result<()> {
    let scene = Scene::new("kill-scorer", 4)?;
    let mut scorer = scene.scorer("scorer", &["--instance", "one"])?;
    let written = under_traffic(&scene, 42, |rng| kill_at_random(&mut scorer, rng))?;
    assert_each_scored_once(&scene, &written)
}

#[test]
fn a_collector_killed_at_random_writes_each_row_once() -> Result<()> {
    let scene = Scene::new("kill-collector", 4)?;
    let mut collector = scene.collector("collector", &["--rows", "300", "--max-age", "2s"])?;
    under_traffic(&scene, 43, |rng| kill_at_random(&mut collector, rng))?;
    assert_rows_are_the_log(&scene)
}

#[test]
fn zombies_do_no_harm() -> Result<()> {
    let scene = Scene::new("zombies", 4)?;
    let rows = ["--rows", "300", "--max-age", "2s"];
    let mut pairs = [
        [
            scene.featurizer("featurizer-1", &[])?,
            scene.featurizer("featurizer-2", &[])?,
        ],
        [
            scene.scorer("scorer-1", &[])?,
            scene.scorer("scorer-2", &[])?,
        ],
        [
            scene.collector("collector-1", &rows)?,
            scene.collector("collector-2", &rows)?,
        ],
    ];
    for program in pairs.iter_mut().flatten() {
        program.wait_ready()?;
    }
    let written = under_traffic(&scene, 44, |_| {
        thread::scope(|scope| {
            let all: Vec<_> = pairs
                .iter_mut()
                .map(|[zombie, other]| scope.spawn(|| pause_beyond_session(zombie, other)))
                .collect();
            all.into_iter()
                .try_for_each(|one| one.join().map_err(|_| anyhow!("a pause panicked"))?)
        })
    })?;
    assert_features_right(&scene)?;
    assert_each_scored_once(&scene, &written)?;
    assert_rows_are_the_log(&scene)
}

#[test]
fn an_emptied_redis_is_filled_again() -> Result<()> {
    let mut redis = sandbox::stack::Stack::own_redis()?;
    let mut scene = Scene::new("flush", 2)?;
    scene.redis_url = redis.url();
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    featurizer.wait_ready()?;
    under_traffic(&scene, 45, |mut rng| {
        thread::sleep(Duration::from_millis(rng.random_range(3_000..6_000)));
        let () = redis::cmd("FLUSHALL").query(&mut scene.redis()?)?;
        thread::sleep(Duration::from_millis(rng.random_range(3_000..6_000)));
        redis.kill()?;
        redis.start_again()
    })?;
    assert_features_right(&scene)
}

#[test]
fn answers_of_redis_that_get_lost_leave_every_feature_right() -> Result<()> {
    let mut scene = Scene::new("lost-answers", 2)?;
    let server = scene.redis_url.trim_start_matches("redis://").to_owned();
    let link = Link::to(&server)?;
    let direct = std::mem::replace(
        &mut scene.redis_url,
        format!("redis://127.0.0.1:{}", link.port()),
    );
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    featurizer.wait_ready()?;
    under_traffic(&scene, 46, |mut rng| {
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(rng.random_range(500..2_500)));
            // Writes arrive, their answers do not, and then the connection is gone.
            link.swallow_answers();
            thread::sleep(Duration::from_millis(rng.random_range(1..300)));
            link.cut();
            thread::sleep(Duration::from_millis(rng.random_range(0..500)));
            link.mend();
        }
        Ok(())
    })?;
    scene.redis_url = direct;
    assert_features_right(&scene)
}
