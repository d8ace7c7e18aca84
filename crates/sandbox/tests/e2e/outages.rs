//! Brokers and a Redis that stop answering: not ready within 5 s and as long as it lasts, ready again after, and a stop
//! ends well whatever is away.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use sandbox::harness::{Names, Program, Scene, until};
use sandbox::kafka::create_topics;
use sandbox::stack::{Kafka, Stack};

use crate::SOON;
use crate::operations::{EVENT, PAYMENT};
use crate::scorer::{PREDICTIONS, assert_each_once, grows, under_traffic};
use crate::scorer_faults::OpenPosition;
use crate::scorer_redis::HISTORY;

/// The promise: an outage shows within this time.
const SHOWN: Duration = Duration::from_secs(5);
/// The promise: a stop ends within this time.
const STOP: Duration = Duration::from_secs(10);
/// Time for which an outage is watched, longer than any wait of a client for one answer.
const LASTING: Duration = Duration::from_secs(15);
/// The readiness page of a program whose batch is being published for a while.
const AT_WORK: &str = "its work has been under way for ";
/// Longer than the session, the transaction and the poll interval of a member.
const LONG: Duration = Duration::from_secs(90);

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

/// Freezes the brokers while each of `scorers` publishes a batch, and returns when. A freeze that finds one of them
/// between two batches leaves it nothing to publish or to undo: it is lifted, and tried again.
fn freeze_at_work(kafka: &Kafka, scorers: &[&Program]) -> Result<Instant> {
    until("a freeze that finds all at work", SOON, || {
        for scorer in scorers {
            grows(scorer, PREDICTIONS, 100)?;
        }
        kafka.pause()?;
        let begun = Instant::now();
        while begun.elapsed() < SHOWN {
            let pages = scorers.iter().map(|scorer| scorer.page("/readyz"));
            let pages = pages.collect::<Result<Vec<_>>>()?;
            if pages.iter().all(|(_, reasons)| reasons.contains(AT_WORK)) {
                return Ok(Some(begun));
            }
            thread::sleep(Duration::from_millis(50));
        }
        kafka.resume()?;
        Ok(None)
    })
}

/// True if the scorer says so, in its log or on its readiness page.
fn tells(scorer: &Program, text: &str) -> Result<bool> {
    Ok(scorer.page("/readyz")?.1.contains(text) || scorer.output().contains(text))
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

/// All three programs on brokers of their own, ready.
fn all_three(kafka: &Kafka, label: &str) -> Result<(Scene, [Program; 3])> {
    let stack = Stack::shared()?;
    let names = Names::unique(label);
    let topics = [
        &names.user_events,
        &names.transactions,
        &names.labeled_events,
    ];
    create_topics(&kafka.brokers(), &topics.map(String::as_str), 2)?;
    let scene = Scene::at(&kafka.brokers(), stack.redis_url(), names)?;
    let mut programs = [
        scene.featurizer("featurizer", &[])?,
        scene.scorer("scorer", &[])?,
        scene.collector("collector", &[])?,
    ];
    for program in &mut programs {
        program.wait_ready()?;
    }
    Ok((scene, programs))
}

#[test]
fn frozen_brokers_are_shown_by_all_three_and_do_not_keep_them_from_stopping() -> Result<()> {
    let kafka = Stack::own_kafka()?;
    let (scene, mut programs) = all_three(&kafka, "frozen-brokers")?;
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

/// No text of the Kafka client's own, and each of ours once, however many clients a process has.
#[test]
fn a_broker_that_restarts_is_told_in_plain_words() -> Result<()> {
    let mut kafka = Stack::own_kafka()?;
    let (_scene, mut programs) = all_three(&kafka, "restarting-broker")?;
    kafka.kill()?;
    shows(&programs, "no answer from the brokers for ")?;
    kafka.start_again()?;
    for program in &mut programs {
        program.wait_ready()?;
        let output = program.output();
        for raw in ["(Local: ", "(Broker: ", "suppressed)", "kafka client"] {
            assert!(!output.contains(raw), "{raw:?} is in: {output}");
        }
        let said = output.lines().filter_map(|line| line.split_once(" INFO "));
        let mut said: Vec<&str> = said
            .map(|(_, text)| text)
            .filter(|text| text.ends_with(": trying again"))
            .collect();
        let all = said.len();
        assert!(all > 0, "{output}");
        said.sort_unstable();
        said.dedup();
        assert_eq!(said.len(), all, "{output}");
    }
    stop(&mut programs)
}

#[test]
fn brokers_away_for_90_s_are_shown_each_second_and_scorers_end_well_in_every_state() -> Result<()> {
    let kafka = Stack::own_kafka()?;
    let stack = Stack::shared()?;
    let names = Names::unique("long-outage");
    create_topics(&kafka.brokers(), &[&names.transactions], 2)?;
    let scene = Scene::at(&kafka.brokers(), stack.redis_url(), names)?;
    // Groups of their own, so that each scorer has partitions.
    let other = |label: &str| -> Result<Program> {
        let group = format!("{}-{label}", scene.names.scorer_group);
        let output = format!("{}-{label}", scene.names.predictions);
        let flags = ["--group", &group, "--output-topic", &output];
        scene.scorer(label, &flags)
    };
    let withheld = format!("{}-searching", scene.names.scorer_group);
    let _open = OpenPosition::of(&scene, &withheld, 0)?;
    let mut watched = scene.scorer("watched", &[])?;
    // The others, each with what tells that it is in its state: in the log, or on the readiness page.
    let mut others = [
        (other("searching")?, "looking up where to read"),
        (other("publishing")?, AT_WORK),
        (other("undone")?, "transaction undone"),
    ];
    watched.wait_ready()?;
    for (scorer, _) in &mut others[1..] {
        scorer.wait_ready()?;
    }
    let sent = under_traffic(&scene, || {
        let [(searching, looks_up), (publishing, _), (undone, _)] = &others;
        until("a look-up", SOON, || {
            Ok(tells(searching, looks_up)?.then_some(()))
        })?;
        let begun = freeze_at_work(&kafka, &[&watched, publishing, undone])?;
        thread::scope(|scope| -> Result<()> {
            let stops = scope.spawn(|| -> Result<()> {
                for (scorer, state) in &mut others {
                    until(state, SOON, || Ok(tells(scorer, state)?.then_some(())))
                        .with_context(|| scorer.output())?;
                    stop(std::slice::from_mut(scorer))?;
                }
                Ok(())
            });
            thread::sleep(SHOWN.saturating_sub(begun.elapsed()));
            while begun.elapsed() < LONG {
                let (code, reasons) = watched.page("/readyz")?;
                assert_eq!(code, 503, "ready after {:?} of the outage", begun.elapsed());
                assert!(
                    reasons.contains("no answer from the brokers for "),
                    "{reasons}"
                );
                thread::sleep(Duration::from_secs(1));
            }
            stops.join().map_err(|_| anyhow!("a stop failed"))?
        })?;
        kafka.resume()?;
        watched.wait_ready()?;
        grows(&watched, PREDICTIONS, 500)
    })?;
    assert_each_once(&scene, sent)?;
    stop(std::slice::from_mut(&mut watched))
}

#[test]
fn a_frozen_redis_is_shown_and_keeps_nobody_from_stopping() -> Result<()> {
    let redis = Stack::own_redis()?;
    let mut scene = Scene::new("frozen-redis", 2)?;
    scene.redis_url = redis.url();
    let mut programs = [
        scene.featurizer("featurizer", &[])?,
        scene.scorer("scorer", &["--model", HISTORY])?,
    ];
    for program in &mut programs {
        program.wait_ready()?;
    }
    redis.pause()?;
    scene.send(&scene.names.user_events, &[(Some("u_1"), Some(EVENT))])?;
    shows(&programs, "no answer from Redis for ")?;
    redis.resume()?;
    for program in &mut programs {
        program.wait_ready()?;
    }
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
