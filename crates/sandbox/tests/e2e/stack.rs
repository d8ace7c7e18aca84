//! The servers that tests and demo stand on.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::Result;
use sandbox::harness::until;
use sandbox::kafka::{Isolation, Producer, create_topics, read_all};
use sandbox::stack::Stack;

use crate::SOON;

#[test]
fn redis_keeps_its_data_over_kill_9() -> Result<()> {
    let mut redis = Stack::own_redis()?;
    let connect = |url: String| redis::Client::open(url)?.get_connection();
    let () = redis::cmd("SET")
        .arg("k")
        .arg("v")
        .query(&mut connect(redis.url())?)?;
    // Written to the file before the answer; what has to be on disk for kill -9 is only the system's cache.
    redis.kill()?;
    assert!(connect(redis.url()).is_err());
    redis.start_again()?;
    let value: String = redis::cmd("GET")
        .arg("k")
        .query(&mut connect(redis.url())?)?;
    assert_eq!(value, "v");
    Ok(())
}

#[test]
fn kafka_keeps_its_records_over_kill_9() -> Result<()> {
    let mut kafka = Stack::own_kafka()?;
    create_topics(&kafka.brokers(), &["kept"], 1)?;
    let producer = Producer::open(&kafka.brokers())?;
    producer.send("kept", Some(b"k"), Some(b"v"), None)?;
    producer.flush()?;
    kafka.kill()?;
    kafka.start_again()?;
    let records = until("the topic after the restart", SOON, || {
        Ok(read_all(&kafka.brokers(), "kept", Isolation::ReadCommitted).ok())
    })?;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].value.as_deref(), Some(&b"v"[..]));
    Ok(())
}

#[test]
fn servers_end_with_whoever_started_them_even_by_kill_9() -> Result<()> {
    let mut up = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(["stack", "up"])
        .env_remove("KAFKA_BROKERS")
        .env_remove("REDIS_URL")
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(up.stdout.take().expect("its output is piped"));
    let url = output.lines().map_while(Result::ok).find_map(|line| {
        line.split_whitespace()
            .find(|word| word.starts_with("redis://"))
            .map(str::to_owned)
    });
    let url = url.expect("it says where Redis is");
    let answers =
        || redis::Client::open(url.as_str()).is_ok_and(|client| client.get_connection().is_ok());
    assert!(answers());
    up.kill()?;
    up.wait()?;
    until("Redis to end", SOON, || Ok((!answers()).then_some(())))
}
