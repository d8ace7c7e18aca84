//! A Redis at the start of a featurizer and its commands: waited for while it loads, refused with a remedy otherwise.

use std::thread;

use anyhow::{Result, anyhow};
use sandbox::harness::{Scene, until};
use sandbox::stack::{Redis, Stack};

use crate::operations::EVENT;
use crate::{SOON, assert_ends};

fn scene(purpose: &str, redis: &Redis) -> Result<Scene> {
    let mut scene = Scene::new(purpose, 1)?;
    scene.redis_url = redis.url();
    Ok(scene)
}

fn command(redis: &Redis, words: &[&str]) -> Result<redis::Value> {
    let mut connection = redis::Client::open(redis.url())?.get_connection()?;
    let mut command = redis::cmd(words[0]);
    words[1..].iter().for_each(|word| {
        command.arg(*word);
    });
    Ok(command.query(&mut connection)?)
}

/// Start and rebuild end with this code and say all of these, and the doctor names it too.
fn refused(scene: &Scene, purpose: &str, code: i32, says: &[&str]) -> Result<()> {
    let run = |command: &'static str, more: &[&str]| {
        scene.featurizer(&format!("{purpose}-{command}"), more)
    };
    assert_ends(run("start", &[])?, code, says)?;
    assert_ends(run("rebuild", &["rebuild"])?, code, says)?;
    assert_ends(run("explain", &["explain", "u_1"])?, code, says)?;
    assert_ends(run("doctor", &["doctor"])?, 1, says)
}

#[test]
fn a_redis_that_loads_is_waited_for() -> Result<()> {
    // Each key takes 10 ms to load, and Redis answers after every 2 MB of them.
    let mut redis = Stack::own_redis_with(&["--appendonly", "no", "--key-load-delay", "10000"])?;
    let scene = scene("loading", &redis)?;
    let script = "for i = 1, 400 do redis.call('SET', 'k' .. i, string.rep('x', 100000)) end";
    command(&redis, &["EVAL", script, "0"])?;
    command(&redis, &["CONFIG", "SET", "rdbcompression", "no"])?;
    command(&redis, &["SAVE"])?;
    redis.kill()?;
    let mut featurizer = thread::scope(|scope| {
        let again = scope.spawn(|| redis.start_again());
        let featurizer = scene.featurizer("featurizer", &[])?;
        until("the log to say what is waited for", SOON, || {
            Ok(featurizer.output().contains("LOADING").then_some(()))
        })?;
        again.join().map_err(|_| anyhow!("the start panicked"))??;
        anyhow::Ok(featurizer)
    })?;
    featurizer.wait_ready()?;
    assert!(featurizer.output().contains("waiting for Redis"));
    assert!(featurizer.terminate()?.success());
    Ok(())
}

#[test]
fn what_redis_refuses_ends_a_start_with_its_remedy() -> Result<()> {
    let redis = Stack::own_redis()?;
    let mut scene = scene("refusals", &redis)?;
    let start = |scene: &Scene, label: &str, code, says: &[&str]| {
        assert_ends(scene.featurizer(label, &[])?, code, says)
    };

    command(&redis, &["REPLICAOF", "127.0.0.1", "1"])?;
    start(&scene, "replica", 69, &["READONLY", "primary"])?;
    command(&redis, &["REPLICAOF", "NO", "ONE"])?;

    command(&redis, &["CONFIG", "SET", "maxmemory", "1"])?;
    start(&scene, "full", 69, &["OOM", "maxmemory"])?;
    command(&redis, &["CONFIG", "SET", "maxmemory", "0"])?;

    let gone = scene.folder().join("gone");
    std::fs::create_dir(&gone)?;
    command(&redis, &["CONFIG", "SET", "appendonly", "no"])?;
    command(&redis, &["CONFIG", "SET", "dir", gone.to_str().unwrap()])?;
    command(&redis, &["CONFIG", "SET", "save", "3600 1"])?;
    std::fs::remove_dir(&gone)?;
    command(&redis, &["BGSAVE"])?;
    until("the save to fail", SOON, || {
        let info = redis::from_redis_value::<String>(command(&redis, &["INFO"])?)?;
        Ok(info.contains("rdb_last_bgsave_status:err").then_some(()))
    })?;
    start(&scene, "disk", 69, &["MISCONF", "disk"])?;
    command(&redis, &["CONFIG", "SET", "save", ""])?;

    let owner = format!("{}owner", scene.names.key_prefix);
    command(&redis, &["LPUSH", &owner, "x"])?;
    refused(&scene, "foreign", 64, &["WRONGTYPE", "--key-prefix"])?;
    command(&redis, &["DEL", &owner])?;

    command(&redis, &["CONFIG", "SET", "requirepass", "s3cret"])?;
    refused(&scene, "locked", 69, &["NOAUTH", "--redis-password-file"])?;
    let address = redis.url().replace("redis://", "redis://:wrong@");
    scene.redis_url = address;
    refused(
        &scene,
        "wrong",
        69,
        &["authentication failed", "--redis-password-file"],
    )
}

#[test]
fn a_redis_that_hides_what_it_is_is_tried_out() -> Result<()> {
    let redis = Stack::own_redis()?;
    let mut scene = scene("hidden", &redis)?;
    let pattern = format!("~{}*", scene.names.key_prefix);
    let user = |more: &[&str]| {
        let words = [
            "ACL", "SETUSER", "worker", "reset", "on", ">pass", &pattern, "+@all",
        ];
        command(&redis, &[&words, more].concat())
    };
    scene.redis_url = redis.url().replace("redis://", "redis://worker:pass@");

    user(&["-@write"])?;
    assert_ends(
        scene.featurizer("reader", &[])?,
        69,
        &["NOPERM", "ACL SETUSER"],
    )?;

    user(&["-info", "-time", "-ping"])?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    featurizer.wait_ready()?;
    let mut doctor = scene.featurizer("doctor", &["doctor"])?;
    assert_eq!(
        doctor.wait_for_end(SOON)?.code(),
        Some(0),
        "{}",
        doctor.output()
    );
    assert!(
        doctor.output().contains("does not tell its memory limit"),
        "{}",
        doctor.output()
    );
    assert!(featurizer.terminate()?.success());
    let left = format!("{}probe:*", scene.names.key_prefix);
    let left = redis::from_redis_value::<Vec<String>>(command(&redis, &["KEYS", &left])?)?;
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

#[test]
fn a_redis_in_cluster_mode_is_refused_by_name() -> Result<()> {
    let redis = Stack::own_redis_with(&["--cluster-enabled", "yes"])?;
    let mut scene = scene("cluster", &redis)?;
    let slots: Vec<String> = (0..16_384).map(|slot| slot.to_string()).collect();
    let words: Vec<&str> = ["CLUSTER", "ADDSLOTS"]
        .into_iter()
        .chain(slots.iter().map(String::as_str))
        .collect();
    assert_ends(
        scene.featurizer("early", &[])?,
        69,
        &["CLUSTERDOWN", "cluster mode"],
    )?;
    command(&redis, &words)?;
    until("the slots to be served", SOON, || {
        Ok(command(&redis, &["GET", "any"]).is_ok().then_some(()))
    })?;
    refused(&scene, "whole", 69, &["cluster mode", "cluster-enabled no"])?;
    let words = [
        "ACL", "SETUSER", "worker", "on", ">pass", "~*", "+@all", "-info",
    ];
    command(&redis, &words)?;
    scene.redis_url = redis.url().replace("redis://", "redis://worker:pass@");
    refused(
        &scene,
        "hidden",
        69,
        &["cluster mode", "cluster-enabled no"],
    )
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn an_old_redis_is_refused_by_name() -> Result<()> {
    let redis = Stack::old_redis()?;
    let mut scene = scene("old", &redis)?;
    refused(&scene, "told", 69, &["Redis 6.0.5 is too old", "6.2"])?;
    let words = [
        "ACL", "SETUSER", "worker", "on", ">pass", "~*", "+@all", "-info",
    ];
    command(&redis, &words)?;
    scene.redis_url = redis.url().replace("redis://", "redis://worker:pass@");
    refused(&scene, "hidden", 69, &["too old", "6.2"])
}

#[test]
fn valkey_keeps_features_as_redis_does() -> Result<()> {
    let valkey = Stack::valkey()?;
    let scene = scene("valkey", &valkey)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    featurizer.wait_ready()?;
    scene.send(&scene.names.user_events, &[(Some("u_1"), Some(EVENT))])?;
    until("the features", SOON, || {
        let found = command(&valkey, &["EXISTS", &scene.names.features_key("u_1")])?;
        Ok((found == redis::Value::Int(1)).then_some(()))
    })?;
    let mut doctor = scene.featurizer("doctor", &["doctor"])?;
    assert_eq!(
        doctor.wait_for_end(SOON)?.code(),
        Some(0),
        "{}",
        doctor.output()
    );
    assert!(
        doctor.output().contains("Valkey 9.1.2 answers"),
        "{}",
        doctor.output()
    );
    assert!(featurizer.terminate()?.success());
    Ok(())
}
