//! Commands that move or send tell beforehand what they would do; a rebuild can be waited for.

use std::process::Command;

use anyhow::Result;
use sandbox::harness::{Binaries, Names, Scene, until};
use sandbox::kafka::{committed, topics};

use crate::SOON;
use crate::operations::{EVENT, PAYMENT};

/// Runs a command that succeeds, and returns what it prints.
fn told(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn moving_a_group_and_sending_back_are_shown_first() -> Result<()> {
    let scene = Scene::new("dry", 1)?;
    let names = &scene.names;
    let topic = &names.transactions;
    let bad = "{\"transaction_id\":\"t_2\"}";
    scene.send(topic, &[(None, Some(PAYMENT)), (None, Some(bad))])?;
    let mut scorer = scene.scorer("scorer", &[])?;
    scorer.wait_ready()?;
    let letters = Names::dead_letters(topic);
    until("a prediction and a dead letter", SOON, || {
        let count = |topic| scene.read(topic).map_or(0, |found| found.len());
        Ok((count(&names.predictions) == 1 && count(&letters) == 1).then_some(()))
    })?;
    assert!(scorer.terminate()?.success());

    let before = committed(&scene.brokers, &names.scorer_group, topic)?;
    let mut reset = Command::new(Binaries::build()?.path("scorer"));
    reset.args(["--reset", "--dry-run", "--start", "earliest"]);
    reset.args(["--topic", topic, "--group", &names.scorer_group]);
    // Nothing is made either.
    reset.args(["--output-topic", "dry-run-output"]);
    reset.env("KAFKA_BROKERS", &scene.brokers);
    // The brokers may take a moment to forget the last worker.
    until("a group without members", SOON, || {
        Ok(reset.output()?.status.success().then_some(()))
    })?;
    let text = told(&mut reset)?;
    assert!(text.contains("partition 0: 2 -> 0 (-2)"), "{text}");
    assert!(text.contains("nothing was moved"), "{text}");
    let after = committed(&scene.brokers, &names.scorer_group, topic)?;
    assert_eq!(before, after);

    let mut resend = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    resend.args(["dead-letters", topic, "--resend", "--dry-run"]);
    let text = told(resend.env("KAFKA_BROKERS", &scene.brokers))?;
    assert!(text.contains("to send back: 1 that "), "{text}");
    assert!(text.contains("nothing was sent"), "{text}");
    assert_eq!(scene.read(topic)?.len(), 2);
    let all = topics(&scene.brokers)?;
    let made = |name: &&String| **name == format!("{letters}.resent") || *name == "dry-run-output";
    assert_eq!(all.iter().find(made), None);
    Ok(())
}

#[test]
fn a_rebuild_is_shown_first_and_can_be_waited_for() -> Result<()> {
    let scene = Scene::new("rebuild-waits", 2)?;
    let names = &scene.names;
    let events = vec![(Some("u_1"), Some(EVENT)); 500];
    scene.send(&names.user_events, &events)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    featurizer.wait_ready()?;
    let mut redis = scene.redis()?;
    let key = names.features_key("u_1");
    let mut count = || -> Result<Option<String>> {
        Ok(redis::cmd("HGET")
            .arg(&key)
            .arg("purchase_count_24h")
            .query(&mut redis)?)
    };
    until("all events", SOON, || {
        Ok((count()?.as_deref() == Some("500")).then_some(()))
    })?;
    let rebuild = |more: &[&str]| -> Result<String> {
        let mut command = Command::new(Binaries::build()?.path("featurizer"));
        command.args(["rebuild", "--topic", &names.user_events]);
        command.args(["--group", &names.featurizer_group]);
        command.args(["--key-prefix", &names.key_prefix]).args(more);
        command.env("KAFKA_BROKERS", &scene.brokers);
        told(command.env("REDIS_URL", &scene.redis_url))
    };
    let text = rebuild(&["--dry-run"])?;
    assert_eq!(text.matches("would be built anew").count(), 2, "{text}");
    let builds = || featurizer.output().matches("building windows").count();
    let before = builds();
    // What somebody else has written is right again as soon as the rebuild returns.
    let mut other = scene.redis()?;
    redis::cmd("HSET")
        .arg(names.features_key("u_1"))
        .arg("purchase_count_24h")
        .arg("7")
        .exec(&mut other)?;
    let text = rebuild(&["--wait"])?;
    assert_eq!(text.matches("will be built anew").count(), 2, "{text}");
    assert_eq!(count()?.as_deref(), Some("500"));
    assert!(builds() > before, "{}", featurizer.output());
    assert!(featurizer.terminate()?.success());
    Ok(())
}
