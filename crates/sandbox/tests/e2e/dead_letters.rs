//! Rejected records are listed by reason, and go back once.

use std::collections::HashMap;
use std::process::Command;

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use sandbox::harness::{Names, Scene, until};
use sandbox::kafka::{Isolation, Stored, create_topics, reader};
use sandbox::process::{Launch, Process, Signal};

use crate::SOON;
use tidemill_core::kafka::add_header;

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

    // As they were, where they were; and they name their originals.
    let mut returned = back()?;
    returned.sort_by_key(|record| record.partition);
    let mut originals = before.clone();
    originals.sort_by_key(|record| record.partition);
    for (copy, original) in returned.iter_mut().zip(&originals) {
        let own = copy.headers.len().saturating_sub(4);
        let mut coordinates = copy.headers.split_off(own);
        let time = original.timestamp_ms.context("no timestamp")?;
        let timestamp = (b"source.timestamp".to_vec(), time.to_string().into_bytes());
        assert_eq!(coordinates.pop(), Some(timestamp));
        assert_eq!(
            coordinates,
            names(topic, original.partition, original.offset)
        );
        assert_eq!(copy.timestamp_ms, Some(time));
    }
    let same = |one: &Stored| {
        (
            one.partition,
            one.key.clone(),
            one.value.clone(),
            one.headers.clone(),
        )
    };
    let expected: Vec<_> = originals.iter().map(same).collect();
    assert_eq!(returned.iter().map(same).collect::<Vec<_>>(), expected);

    // Still unusable: new letters about the originals, which may go back in turn.
    scorer.start_again()?;
    scorer.wait_ready()?;
    until("the letters of those that came back", SOON, || {
        Ok((scene.read(&letters)?.len() == 4).then_some(()))
    })?;
    assert!(scorer.terminate()?.success());
    for letter in scene.read(&letters)? {
        let named = letter
            .headers
            .iter()
            .filter(|(name, _)| name == b"source.topic");
        assert_eq!(named.count(), 1, "{:?}", letter.headers);
        let offset = letter.header("source.offset").context("no offset")?;
        assert!(
            originals
                .iter()
                .any(|original| original.offset.to_string() == offset)
        );
        assert_eq!(
            letter.header("source.group").as_deref(),
            Some(&*scene.names.scorer_group)
        );
    }
    let (done, text) = dead_letters(&scene, &["--resend", "--yes", topic])?;
    assert!(
        done && text.contains("2 dead letters") && text.contains("sent back 2 to"),
        "{text}"
    );
    Ok(())
}

/// The headers by which a copy names its original.
fn names(topic: &str, partition: i32, offset: i64) -> [(Vec<u8>, Vec<u8>); 3] {
    [
        ("source.topic", topic.to_owned()),
        ("source.partition", partition.to_string()),
        ("source.offset", offset.to_string()),
    ]
    .map(|(name, value)| (name.as_bytes().to_vec(), value.into_bytes()))
}

/// Writes the letter of a group about a record with the same key and value as all others.
fn letter(scene: &Scene, topic: &str, group: &str, partition: i32, offset: i64) -> Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .create()?;
    let more = [
        ("source.group", group),
        ("error", "e"),
        ("reason", "wrong_type"),
        ("binary", "b"),
        ("version", "v"),
    ];
    let more = more.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    let headers = names(topic, partition, offset).into_iter().chain(more);
    let headers = headers.fold(OwnedHeaders::new(), |headers, (key, value)| {
        add_header(headers, &key, Some(&value))
    });
    let letters = Names::dead_letters(topic);
    let record = BaseRecord::to(&letters)
        .key("u_1")
        .payload("{}")
        .headers(headers);
    producer.send(record).map_err(|(error, _)| error)?;
    Ok(producer.flush(SOON)?)
}

#[test]
fn a_record_goes_back_once_for_all_letters_about_it_and_to_where_it_was() -> Result<()> {
    let scene = Scene::new("letters-groups", 2)?;
    let topic = &scene.names.user_events;
    create_topics(&scene.brokers, &[&Names::dead_letters(topic)], 1)?;
    // Two groups, and a rebuild of the first; one key in both partitions; a partition that is not there.
    for (group, partition) in [("a", 0), ("a", 0), ("b", 0), ("a", 1), ("a", 2)] {
        letter(&scene, topic, group, partition, 7)?;
    }
    let run = |arguments: &[&str]| -> Result<String> {
        let (done, text) = dead_letters(&scene, &[arguments, &[topic.as_str()]].concat())?;
        assert!(done, "{text}");
        Ok(text)
    };
    let text = run(&[])?;
    for part in [
        "4 dead letters",
        "rejected by group a:\n",
        "rejected by group b:\n",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(run(&["--group", "b"])?.contains("1 dead letter\n"));
    let text = run(&["--resend", "--yes"])?;
    for part in [
        "1 cannot be sent back: the topic or partition",
        "2 that group a rejected",
        "1 that group b rejected",
        "sent back 2 to",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let copies = scene.read(topic)?;
    let places: Vec<_> = copies
        .iter()
        .map(|copy| (copy.partition, copy.headers.clone()))
        .collect();
    let expected = [0, 1].map(|partition| (partition, names(topic, partition, 7).to_vec()));
    assert_eq!(places, expected);
    assert!(run(&["--resend", "--yes"])?.contains("nothing to send back"));

    // The second group rejects a copy.
    letter(&scene, topic, "b", 1, 7)?;
    assert!(run(&["--group", "a", "--resend", "--yes"])?.contains("nothing to send back"));
    let text = run(&["--resend", "--yes"])?;
    assert!(
        text.contains("1 that group b rejected") && !text.contains("that group a"),
        "{text}"
    );
    assert_eq!(scene.read(topic)?.len(), 3);
    let text = run(&["--resend", "--yes"])?;
    assert!(text.contains("2 went back before; --again"), "{text}");
    assert!(run(&["--resend", "--yes", "--again"])?.contains("sent back 2 to"));
    assert_eq!(scene.read(topic)?.len(), 5);
    Ok(())
}

/// Dead letters of a topic of one partition, as a scorer writes them, each with a key of its own.
fn set_aside(scene: &Scene, topic: &str, count: usize) -> Result<()> {
    let letters = Names::dead_letters(topic);
    create_topics(&scene.brokers, &[&letters], 1)?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .create()?;
    for number in 0..count {
        let key = number.to_string();
        let headers = [("reason", "invalid_json"), ("source.topic", topic)]
            .into_iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: Some(value),
                })
            });
        let record = BaseRecord::to(&letters)
            .key(&key)
            .payload("{")
            .headers(headers);
        producer.send(record).map_err(|(error, _)| error)?;
        if number % 50_000 == 49_999 {
            producer.flush(SOON)?;
        }
    }
    producer.flush(SOON)?;
    Ok(())
}

/// Begins to send back all letters of a topic.
fn begin(scene: &Scene, name: &str, topic: &str) -> Result<Process> {
    let arguments = [
        "dead-letters",
        "--brokers",
        &scene.brokers,
        "--resend",
        "--yes",
        topic,
    ];
    Process::spawn(Launch {
        name: name.to_owned(),
        program: env!("CARGO_BIN_EXE_sandbox").into(),
        arguments: arguments.map(Into::into).to_vec(),
        environment: Vec::new(),
        folder: scene.folder().to_owned(),
        detached: false,
    })
}

/// Waits until 2,000 further records of the topic are written, committed or not; without rests, to be there in time.
fn until_at_work(scene: &Scene, topic: &str, sender: &mut Process) -> Result<()> {
    let reader = reader(&scene.brokers, Isolation::ReadUncommitted)?;
    let (_, before) = reader.fetch_watermarks(topic, 0, SOON)?;
    while reader.fetch_watermarks(topic, 0, SOON)?.1 < before + 2_000 {
        let ended = sender.ended()?;
        assert!(ended.is_none(), "{ended:?}: {}", sender.output());
    }
    Ok(())
}

/// The number of times that each key is back, for readers of what is committed.
fn times_back(scene: &Scene, topic: &str) -> Result<HashMap<Vec<u8>, usize>> {
    let mut times = HashMap::new();
    for record in scene.read(topic)? {
        *times.entry(record.key.context("no key")?).or_default() += 1;
    }
    Ok(times)
}

#[test]
fn each_letter_goes_back_once_over_a_kill_and_with_two_who_send() -> Result<()> {
    const LETTERS: usize = 100_000;
    let scene = Scene::new("letters-killed", 1)?;
    let topic = &scene.names.transactions;
    set_aside(&scene, topic, LETTERS)?;

    let mut killed = begin(&scene, "killed", topic)?;
    until_at_work(&scene, topic, &mut killed)?;
    killed.kill()?;
    let done = killed.output().contains("\nsent back ");
    assert!(!done, "it was at work: {}", killed.output());

    // What that left open is undone when the next begins, and what this one has open when a third does.
    let mut first = begin(&scene, "first", topic)?;
    until_at_work(&scene, topic, &mut first)?;
    first.signal(Signal::Stop)?;
    let mut second = begin(&scene, "second", topic)?;
    let ended = second.wait_for_end(SOON)?;
    assert!(ended.success(), "{}", second.output());
    first.signal(Signal::Continue)?;
    assert!(!first.wait_for_end(SOON)?.success(), "both sent all of it");
    let said = first.output();
    assert!(said.contains("somebody else sends back letters"), "{said}");

    let times = times_back(&scene, topic)?;
    assert_eq!(times.len(), LETTERS);
    assert!(times.values().all(|times| *times == 1));
    let said = second.output();
    let count = said
        .lines()
        .find_map(|line| line.strip_prefix("sent back ")?.split(' ').next());
    let count: usize = count.context("it says how many")?.parse()?;
    assert!(count <= LETTERS - 2_000, "{count} were left to it");
    let (done, text) = dead_letters(&scene, &["--resend", "--yes", topic])?;
    assert!(done && text.contains("nothing to send back"), "{text}");
    Ok(())
}
