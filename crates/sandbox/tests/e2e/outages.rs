//! Brokers and a Redis that stop answering: not ready within 5 s and as long as it lasts, ready again after, and a stop
//! ends well whatever is away.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use sandbox::harness::{Names, Program, Scene, until};
use sandbox::stack::Stack;

use crate::SOON;
use crate::operations::{EVENT, PAYMENT};

/// The promise: an outage shows within this time.
const SHOWN: Duration = Duration::from_secs(5);
/// The promise: a stop ends within this time.
const STOP: Duration = Duration::from_secs(10);
/// How long an outage is watched, longer than any wait of a client for one answer.
const LASTING: Duration = Duration::from_secs(15);

/// Watches an outage that begins now: unready within the promise, and never ready while it lasts.
fn shows(programs: &[Program], part: &str) -> Result<()> {
    let begun = Instant::now();
    for program in programs {
        let left = SHOWN.saturating_sub(begun.elapsed());
        until("an outage to show", left, || {
            let (code, reasons) = program.page("/readyz")?;
            Ok((code == 503 && reasons.contains(part)).then_some(()))
        })?;
    }
    while begun.elapsed() < LASTING {
        for program in programs {
            let (code, reasons) = program.page("/readyz")?;
            assert_eq!(code, 503, "ready during an outage");
            assert!(reasons.contains(part), "{part} is not in: {reasons}");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// All end with 0 within the promise.
fn stop(programs: &mut [Program]) -> Result<()> {
    thread::scope(|scope| {
        let stops: Vec<_> = programs
            .iter_mut()
            .map(|program| {
                scope.spawn(move || -> Result<()> {
                    let asked = Instant::now();
                    let status = program.terminate()?;
                    let output = program.output();
                    assert_eq!(status.code(), Some(0), "{output}");
                    assert!(asked.elapsed() <= STOP, "{:?}: {output}", asked.elapsed());
                    Ok(())
                })
            })
            .collect();
        let mut outcomes = stops.into_iter().map(|stop| stop.join());
        outcomes.try_for_each(|outcome| outcome.map_err(|_| anyhow!("a stop failed"))?)
    })
}

#[test]
fn frozen_brokers_are_shown_by_all_three_and_do_not_keep_them_from_stopping() -> Result<()> {
    let kafka = Stack::own_kafka()?;
    let stack = Stack::shared()?;
    let names = Names::unique("frozen-brokers");
    let topics = [
        &names.user_events,
        &names.transactions,
        &names.labeled_events,
    ];
    sandbox::kafka::create_topics(&kafka.brokers(), &topics.map(String::as_str), 2)?;
    let scene = Scene::at(&kafka.brokers(), stack.redis_url(), names)?;
    let mut programs = [
        scene.featurizer("featurizer", &[])?,
        scene.scorer("scorer", &[])?,
        scene.collector("collector", &[])?,
    ];
    for program in &mut programs {
        program.wait_ready()?;
    }
    let names = &scene.names;
    scene.send(&names.user_events, &[(Some("u_1"), Some(EVENT))])?;
    scene.send(&names.transactions, &[(Some("t_1"), Some(PAYMENT))])?;
    scene.send(&names.labeled_events, &[(None, Some(r#"{"label":1}"#))])?;
    kafka.pause()?;
    shows(&programs, "no answer from the brokers for ")?;
    kafka.resume()?;
    for program in &mut programs {
        program.wait_ready()?;
        assert!(
            program.output().contains("ready again"),
            "{}",
            program.output()
        );
    }
    kafka.pause()?;
    stop(&mut programs)
}

#[test]
fn a_frozen_redis_is_shown_and_does_not_keep_the_featurizer_from_stopping() -> Result<()> {
    let redis = Stack::own_redis()?;
    let mut scene = Scene::new("frozen-redis", 2)?;
    scene.redis_url = redis.url();
    let mut programs = [scene.featurizer("featurizer", &[])?];
    programs[0].wait_ready()?;
    redis.pause()?;
    scene.send(&scene.names.user_events, &[(Some("u_1"), Some(EVENT))])?;
    shows(&programs, "no answer from Redis for ")?;
    redis.resume()?;
    programs[0].wait_ready()?;
    redis.pause()?;
    scene.send(&scene.names.user_events, &[(Some("u_1"), Some(EVENT))])?;
    stop(&mut programs)
}

#[test]
fn a_start_that_waits_can_be_stopped() -> Result<()> {
    let nobody = "localhost:1";
    let stack = Stack::shared()?;
    let nowhere = Scene::at(nobody, stack.redis_url(), Names::unique("stopped"))?;
    let redis = format!("redis://{nobody}");
    let mut programs = [
        nowhere.featurizer("no-brokers", &[])?,
        nowhere.featurizer("no-redis", &["--redis-url", &redis])?,
        nowhere.scorer("scorer", &[])?,
        nowhere.collector("collector", &[])?,
    ];
    for program in &programs {
        until("the page to say what is waited for", SOON, || {
            let page = program.page("/readyz");
            Ok(page
                .is_ok_and(|(_, text)| text.contains("waiting for"))
                .then_some(()))
        })?;
    }
    stop(&mut programs)
}
