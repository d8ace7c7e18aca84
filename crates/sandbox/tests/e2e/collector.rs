//! Data sets of bounded runs: whole, repeatable to the byte, and with features as of each record.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use sandbox::harness::{Binaries, Program, Scene, until};
use sandbox::kafka::{Producer, Stored};
use sandbox::oracle::read_data_set;
use serde_json::{Value, json};

use crate::SOON;

/// A value that no row can be made of, one of each kind.
pub(crate) const POISON: [Option<&[u8]>; 7] = [
    None,
    Some(b""),
    Some(b"oops"),
    Some(b"[1]"),
    Some(b"{\"amount\":"),
    Some(b"{\"amount\":NaN}"),
    Some(b"{\"amount\":\"\xff\"}"),
];

/// A labeled event of its own for each number.
pub(crate) fn labeled(number: u64) -> String {
    let amount = number as f64 / 100.0;
    let label = number.is_multiple_of(7);
    let time = 1_771_151_400_000_u64 + number;
    let time = jiff::Timestamp::from_millisecond(time as i64).unwrap();
    json!({
        "transaction_id": format!("t_{number}"), "user_id": format!("u_{}", number % 97), "amount": amount,
        "hour_of_day": number % 24, "fraud_score": 0.1 + amount / 3.0, "label": label,
        "timestamp": time.to_string()
    })
    .to_string()
}

/// Rows and rejects of a folder are exactly the log's records, each once and each with the record's own values.
pub(crate) fn assert_complete(folder: &Path, log: &[Stored]) -> Result<()> {
    let mut rejected = rejected(folder)?;
    rejected.sort_unstable();
    let usable = |record: &Stored| {
        let value = record.value.as_deref().unwrap_or_default();
        serde_json::from_slice::<BTreeMap<String, Value>>(value).is_ok()
    };
    let (good, bad): (Vec<Stored>, Vec<Stored>) = log.iter().cloned().partition(usable);
    let at: Vec<(i32, i64)> = bad.iter().map(|bad| (bad.partition, bad.offset)).collect();
    assert_eq!(rejected, at, "rejected, and what should be");
    let wrong = read_data_set(folder)?.differences(&good);
    let shown = &wrong[..wrong.len().min(5)];
    assert!(wrong.is_empty(), "{} differences: {shown:?}", wrong.len());
    Ok(())
}

/// Partition and offset of all lines of reject files.
pub(crate) fn rejected(folder: &Path) -> Result<Vec<(i32, i64)>> {
    let mut found = Vec::new();
    let Ok(files) = fs::read_dir(folder.join("_rejected")) else {
        return Ok(found);
    };
    for file in files {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let partition = name
            .and_then(|name| name.rsplit('+').nth(2))
            .context("no name of a reject file")?;
        for line in fs::read_to_string(&path)?.lines() {
            let line: Value = serde_json::from_str(line)?;
            let offset = line["offset"].as_i64().context("no offset")?;
            found.push((partition.parse()?, offset));
        }
    }
    Ok(found)
}

/// Runs `collector verify` on a folder.
pub(crate) fn verify(folder: &Path) -> Result<Output> {
    let executable = Binaries::build()?.path("collector");
    Ok(Command::new(executable)
        .arg("verify")
        .arg(folder)
        .output()?)
}

/// `collector verify` finds nothing wrong.
pub(crate) fn assert_whole(folder: &Path) -> Result<()> {
    let output = verify(folder)?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(())
}

/// The names and bytes of all files of a data set.
fn bytes(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for part in ["", "_rejected"] {
        for entry in fs::read_dir(folder.join(part))? {
            let path = entry?.path();
            if path.is_file() {
                found.insert(path.strip_prefix(folder)?.to_owned(), fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

pub(crate) fn bounded(scene: &Scene, out: &str, more: &[&str]) -> Result<Program> {
    let all = [&["--out", out, "--rows", "500"], more].concat();
    scene.collector(out, &all)
}

pub(crate) fn finish(mut program: Program) -> Result<()> {
    let status = program.wait_for_end(SOON)?;
    let said = program.output();
    assert!(status.success(), "{said}");
    assert!(!said.contains("EOF"), "the end is no news: {said}");
    Ok(())
}

/// Produces in one transaction, so that each partition's last offset is that of a marker and no record's.
fn send_transaction(scene: &Scene, topic: &str, count: u64) -> Result<()> {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .set("transactional.id", topic)
        .create()?;
    producer.init_transactions(SOON)?;
    producer.begin_transaction()?;
    for number in 0..count {
        let (key, value) = (format!("k{number}"), labeled(number));
        let poison = POISON[number as usize / 100 % POISON.len()];
        let payload = if number % 100 == 99 {
            poison
        } else {
            Some(value.as_bytes())
        };
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).key(key.as_bytes());
        record.payload = payload;
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.flush(SOON)?;
        }
    }
    producer.commit_transaction(SOON)?;
    Ok(())
}

#[test]
fn bounded_runs_repeat_to_the_byte_also_after_kills() -> Result<()> {
    let scene = Scene::new("repeat", 3)?;
    let topic = &scene.names.labeled_events;
    send_transaction(&scene, topic, 30_000)?;
    finish(bounded(&scene, "once", &["--until-end"])?)?;
    finish(bounded(
        &scene,
        "again",
        &["--until-end", "--workers", "1"],
    )?)?;
    let once = scene.folder().join("once");
    assert_complete(&once, &scene.read(topic)?)?;
    assert_whole(&once)?;
    let expected = bytes(&once)?;
    assert!(expected.len() > 60, "{}", expected.len());
    assert_eq!(expected, bytes(&scene.folder().join("again"))?);

    let killed = scene.folder().join("killed");
    let mut program = bounded(&scene, "killed", &["--until-end"])?;
    for kills in 1..4 {
        until("some more files", SOON, || {
            let ended = program.ended()?.is_some();
            let files = read_data_set(&killed)
                .map(|found| found.files.len())
                .unwrap_or(0);
            Ok((ended || files >= 5 * kills).then_some(()))
        })?;
        program.kill()?;
        program.start_again()?;
    }
    finish(program)?;
    let mut found = bytes(&killed)?;
    // A kill may leave rejects whose data file another try wrote with the same range: they are the same bytes.
    found.retain(|path, _| !path.starts_with("_staging"));
    assert_eq!(expected, found);
    Ok(())
}

#[test]
fn a_stretch_is_what_its_times_say() -> Result<()> {
    let scene = Scene::new("stretch", 2)?;
    let topic = &scene.names.labeled_events;
    let producer = Producer::open(&scene.brokers)?;
    let base = 1_771_000_000_000_i64;
    for number in 0..3_000_u64 {
        let (key, value) = (format!("k{number}"), labeled(number));
        let time = Some(base + number as i64);
        producer.send(topic, Some(key.as_bytes()), Some(value.as_bytes()), time)?;
    }
    producer.flush()?;
    let (from, to) = ((base + 1_000).to_string(), (base + 2_000).to_string());
    finish(bounded(&scene, "middle", &["--from", &from, "--to", &to])?)?;
    finish(bounded(&scene, "head", &["--to", &from])?)?;
    let future = "2099-01-01T00:00:00Z";
    finish(bounded(&scene, "tail", &["--from", &to, "--to", future])?)?;
    let log = scene.read(topic)?;
    for (out, range) in [
        ("head", 0..1_000),
        ("middle", 1_000..2_000),
        ("tail", 2_000..3_000),
    ] {
        let within = |record: &&Stored| range.contains(&(record.timestamp_ms.unwrap() - base));
        let part: Vec<Stored> = log.iter().filter(within).cloned().collect();
        assert_eq!(part.len(), 1_000);
        assert_complete(&scene.folder().join(out), &part)?;
        assert_whole(&scene.folder().join(out))?;
    }
    Ok(())
}

/// Deletes what the first partition of a topic has before an offset, as retention does.
pub(crate) fn delete_before(scene: &Scene, topic: &str, offset: i64) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .create()?;
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(topic, 0, Offset::Offset(offset))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(admin.delete_records(&before, &AdminOptions::new()))?;
    Ok(())
}

#[test]
fn what_retention_deleted_is_recorded() -> Result<()> {
    let scene = Scene::new("retention", 1)?;
    let topic = &scene.names.labeled_events;
    let send = |range: std::ops::Range<u64>| {
        let values: Vec<String> = range.map(labeled).collect();
        let records: Vec<_> = values
            .iter()
            .map(|value| (None, Some(value.as_str())))
            .collect();
        scene.send(topic, &records)
    };
    send(0..700)?;
    finish(bounded(&scene, "training_data", &["--until-end"])?)?;
    send(700..1_500)?;
    delete_before(&scene, topic, 900)?;
    finish(bounded(&scene, "training_data", &["--until-end"])?)?;
    finish(bounded(&scene, "fresh", &["--until-end"])?)?;
    for (out, lost, rows) in [("training_data", 200, 1_300), ("fresh", 900, 600)] {
        let told = verify(&scene.folder().join(out))?;
        assert!(told.status.success());
        let told = String::from_utf8(told.stdout)?;
        assert!(
            told.contains(&format!("{lost} offsets lost to retention")),
            "{told}"
        );
        assert_eq!(read_data_set(&scene.folder().join(out))?.rows.len(), rows);
    }
    Ok(())
}
