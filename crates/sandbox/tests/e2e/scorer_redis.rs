//! A scorer beside a Redis that refuses, is away, or holds something else under a user's key.

use anyhow::Result;
use sandbox::harness::{Program, Scene, until};
use sandbox::stack::{Redis, Stack};

use crate::SOON;
use crate::scorer::{counter, receipt, transaction};
use crate::scorer_logs::{scored, send};

/// A model that reads features.
pub(crate) const HISTORY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../scorer/fixtures/history.onnx"
);

fn scene(purpose: &str, redis: &Redis) -> Result<Scene> {
    let mut scene = Scene::new(purpose, 1)?;
    scene.redis_url = redis.url();
    Ok(scene)
}

fn command(scene: &Scene, words: &[&str]) -> Result<()> {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    Ok(command.exec(&mut scene.redis()?)?)
}

/// Waits until the readiness page says all of these, or that all is well where there are none.
fn shows(scorer: &Program, says: &[&str]) -> Result<()> {
    until("the readiness", SOON, || {
        let (code, reasons) = scorer.page("/readyz")?;
        let named = says.iter().all(|part| reasons.contains(part));
        let expected = if says.is_empty() { 200 } else { 503 };
        Ok((code == expected && named).then_some(()))
    })
}

#[test]
fn a_scorer_starts_beside_a_redis_that_refuses_and_says_why_it_is_not_ready() -> Result<()> {
    let redis = Stack::own_redis()?;
    let scene = scene("no-password", &redis)?;
    command(&scene, &["CONFIG", "SET", "requirepass", "secret"])?;
    let mut scorer = scene.scorer("scorer", &["--model", HISTORY])?;
    send(&scene, 0..10)?;
    for prediction in scored(&scene, 0..10)? {
        assert_eq!(receipt(&prediction)?["status"][4], "default");
    }
    shows(&scorer, &["NOAUTH", "--redis-password-file"])?;
    assert!(scorer.terminate()?.success());
    Ok(())
}

#[test]
fn a_key_of_another_type_is_its_users_alone_and_an_outage_is_told_as_what_it_is() -> Result<()> {
    let mut redis = Stack::own_redis()?;
    let scene = scene("wrong-type", &redis)?;
    let (good, bad) = (
        scene.names.features_key("u_1"),
        scene.names.features_key("u_2"),
    );
    command(
        &scene,
        &["HSET", &good, "purchase_count_24h", "3", "_as_of", "0"],
    )?;
    command(&scene, &["SET", &bad, "x"])?;
    let mut scorer = scene.scorer("scorer", &["--model", HISTORY])?;
    scorer.wait_ready()?;
    for number in 0..20 {
        let user = format!("u_{}", 1 + number % 2);
        let payment = transaction(number).replace("u_1", &user);
        scene.send(&scene.names.transactions, &[(None, Some(&payment))])?;
    }
    for prediction in scored(&scene, 0..20)? {
        let number: u64 =
            std::str::from_utf8(&prediction.key.clone().unwrap_or_default())?[2..].parse()?;
        let expected = if number.is_multiple_of(2) {
            "ok"
        } else {
            "default"
        };
        assert_eq!(receipt(&prediction)?["status"][4], expected, "{number}");
    }
    shows(&scorer, &[])?;
    let output = scorer.output();
    assert_eq!(output.matches(&bad).count(), 1, "told once: {output}");
    assert!(
        output.contains("WRONGTYPE") && output.contains("--key-prefix"),
        "{output}"
    );
    let refused = counter(&scorer, "tidemill_unreadable_users_total")?;
    assert!(
        (1..=10).contains(&refused),
        "once for each batch with the user: {refused}"
    );

    redis.pause()?;
    shows(&scorer, &["redis: ", "timed out"])?;
    redis.resume()?;
    shows(&scorer, &[])?;
    redis.kill()?;
    shows(&scorer, &["redis: ", "refused", "--redis-url"])?;
    assert!(!scorer.page("/readyz")?.1.contains("WRONGTYPE"));
    send(&scene, 100..110)?;
    scored(&scene, 100..110)?;
    redis.start_again()?;
    shows(&scorer, &[])?;
    command(&scene, &["ACL", "SETUSER", "default", "-hmget"])?;
    shows(&scorer, &["redis: ", "NOPERM", "ACL SETUSER"])?;
    command(&scene, &["ACL", "SETUSER", "default", "+hmget"])?;
    shows(&scorer, &[])?;
    assert!(scorer.terminate()?.success());
    Ok(())
}
