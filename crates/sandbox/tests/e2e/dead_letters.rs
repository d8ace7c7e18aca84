//! What was set aside is listed by reason, and goes back once.

use std::process::Command;

use anyhow::Result;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use sandbox::harness::{Names, Scene, until};
use sandbox::kafka::Stored;

use crate::SOON;

/// Runs `sandbox dead-letters` and returns whether it succeeded, and what it said.
fn dead_letters(scene: &Scene, arguments: &[&str]) -> Result<(bool, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(["dead-letters", "--brokers", &scene.brokers])
        .args(arguments)
        .output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8(text)?))
}

#[test]
fn dead_letters_are_listed_and_go_back_once() -> Result<()> {
    let scene = Scene::new("letters", 2)?;
    let topic = &scene.names.transactions;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .set("partitioner", "murmur2_random")
        .create()?;
    // Two reasons; binary keys and values, own headers with a name of ours among them, a null one, no key.
    let own = OwnedHeaders::new()
        .insert(Header {
            key: "version",
            value: Some("own"),
        })
        .insert(Header {
            key: "trace",
            value: Some(&b"\xff\x00"[..]),
        })
        .insert(Header::<&[u8]> {
            key: "null",
            value: None,
        });
    let keyed = BaseRecord::to(topic)
        .key(&b"\x00key"[..])
        .payload(&b"\xff no JSON"[..])
        .headers(own);
    producer.send(keyed).map_err(|(error, _)| error)?;
    let unkeyed = BaseRecord::<[u8], [u8]>::to(topic)
        .partition(1)
        .payload(b"{}");
    producer.send(unkeyed).map_err(|(error, _)| error)?;
    producer.flush(SOON)?;
    let mut scorer = scene.scorer("scorer", &[])?;
    scorer.wait_ready()?;
    let letters = Names::dead_letters(topic);
    until("both dead letters", SOON, || {
        let found = scene.read(&letters).unwrap_or_default();
        Ok((found.len() == 2).then_some(()))
    })?;
    assert!(scorer.terminate()?.success());

    let (done, text) = dead_letters(&scene, &[topic])?;
    assert!(done, "{text}");
    for part in [
        "2 dead letters",
        "not_utf8",
        "missing_field",
        "transaction_id is missing",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let (done, text) = dead_letters(&scene, &[&letters, "--resend"])?;
    assert!(!done && text.contains("--yes"), "nobody to ask: {text}");

    let before = scene.read(topic)?;
    let back = || -> Result<Vec<Stored>> {
        let all = scene.read(topic)?;
        let known = |record: &Stored| (record.partition, record.offset);
        let old: Vec<_> = before.iter().map(known).collect();
        Ok(all
            .into_iter()
            .filter(|record| !old.contains(&known(record)))
            .collect())
    };
    let only = ["--resend", "--yes", "--reason", "not_utf8", topic];
    for sent in ["sent back 1 to", "nothing to send back"] {
        let (done, text) = dead_letters(&scene, &only)?;
        assert!(done && text.contains(sent), "{text}");
        assert_eq!(back()?.len(), 1);
    }
    let (done, text) = dead_letters(&scene, &["--resend", "--yes", topic])?;
    assert!(done && text.contains("sent back 1 to"), "{text}");
    let (done, text) = dead_letters(&scene, &["--resend", "--yes", topic])?;
    assert!(done && text.contains("nothing to send back"), "{text}");

    // As they were, where they were.
    let mut returned = back()?;
    returned.sort_by_key(|record| record.partition);
    let same = |one: &Stored| {
        (
            one.partition,
            one.key.clone(),
            one.value.clone(),
            one.headers.clone(),
        )
    };
    let expected: Vec<_> = {
        let mut before = before.clone();
        before.sort_by_key(|record| record.partition);
        before.iter().map(same).collect()
    };
    assert_eq!(returned.iter().map(same).collect::<Vec<_>>(), expected);

    // Still unusable: new letters of their own, which may go back in turn.
    scorer.start_again()?;
    scorer.wait_ready()?;
    until("the letters of those that came back", SOON, || {
        Ok((scene.read(&letters)?.len() == 4).then_some(()))
    })?;
    assert!(scorer.terminate()?.success());
    let (done, text) = dead_letters(&scene, &["--resend", "--yes", topic])?;
    assert!(done && text.contains("sent back 2 to"), "{text}");
    Ok(())
}
