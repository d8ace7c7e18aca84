//! Stretches without a record to collect: offsets of aborted transactions alone, and logs that retention has emptied.

use std::fs;
use std::ops::Range;
use std::process::Command;

use anyhow::Result;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use sandbox::harness::{Binaries, Scene, until};
use sandbox::kafka::delete_before;
use sandbox::oracle::read_data_set;

use crate::collector::{bounded, finish, labeled, verify};
use crate::scorer::counter;
use crate::{SOON, assert_ends};

/// Offsets of a partition that no reader gets: records of a transaction that is aborted.
fn abort(scene: &Scene, partition: i32) -> Result<()> {
    let topic = &scene.names.labeled_events;
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .set("transactional.id", format!("{topic}-{partition}"))
        .create()?;
    producer.init_transactions(SOON)?;
    producer.begin_transaction()?;
    let value = labeled(1);
    for _ in 0..50 {
        let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        let record = record.partition(partition).payload(value.as_bytes());
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(SOON)?;
    Ok(producer.abort_transaction(SOON)?)
}

fn send(scene: &Scene, numbers: Range<u64>) -> Result<()> {
    let values: Vec<String> = numbers.map(labeled).collect();
    let records: Vec<_> = values
        .iter()
        .map(|own| (None, Some(own.as_str())))
        .collect();
    scene.send(&scene.names.labeled_events, &records)
}

/// `collector verify` finds a data set whole, and says this.
fn assert_whole(scene: &Scene, out: &str, says: &str) -> Result<()> {
    let output = verify(&scene.folder().join(out))?;
    let told = String::from_utf8(output.stdout)?;
    assert!(output.status.success() && told.contains(says), "{told}");
    Ok(())
}

#[test]
fn a_topic_of_aborted_records_is_an_empty_one() -> Result<()> {
    let scene = Scene::new("co-aborted", 2)?;
    abort(&scene, 0)?;
    finish(bounded(&scene, "nothing", &["--until-end"])?)?;
    assert_eq!(fs::read_dir(scene.folder().join("nothing"))?.count(), 0);
    let schema = scene.labels_schema()?;
    let given = ["--until-end", "--schema", &schema];
    finish(bounded(&scene, "given", &given)?)?;
    assert_whole(&scene, "given", "whole: 0 files, 0 rows")?;
    let mut live = scene.collector("live", &[])?;
    live.wait_ready()?;
    assert!(live.terminate()?.success(), "{}", live.output());
    assert_eq!(read_data_set(&scene.data_set())?.files.len(), 0);
    let infer = Command::new(Binaries::build()?.path("collector"))
        .args(["infer", "--brokers", &scene.brokers, "--topic"])
        .arg(&scene.names.labeled_events)
        .output()?;
    let told = String::from_utf8(infer.stderr)?;
    assert_eq!(infer.status.code(), Some(64), "{told}");
    assert!(told.contains("has no record in this stretch"), "{told}");
    Ok(())
}

/// One partition brings records, the others have none that a reader gets.
#[test]
fn partitions_that_bring_no_record_are_begun_too() -> Result<()> {
    let scene = Scene::new("co-partly", 1)?;
    send(&scene, 0..20)?;
    let topic = &scene.names.labeled_events;
    let add = rdkafka::admin::NewPartitions::new(topic, 3);
    let admin: rdkafka::admin::AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .create()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(admin.create_partitions([&add], &rdkafka::admin::AdminOptions::new()))?;
    until("the partition", SOON, || Ok(abort(&scene, 1).ok()))?;
    finish(bounded(&scene, "once", &["--until-end"])?)?;
    assert_whole(&scene, "once", "whole: 1 files, 20 rows")
}

#[test]
fn what_retention_took_is_recorded_although_no_record_follows() -> Result<()> {
    let scene = Scene::new("co-emptied", 1)?;
    let (topic, out) = (&scene.names.labeled_events, "training_data");
    send(&scene, 0..100)?;
    finish(bounded(&scene, out, &["--until-end"])?)?;
    send(&scene, 100..300)?;
    delete_before(&scene.brokers, topic, 0, 300)?;
    let mut live = scene.collector("live", &["--max-age", "1s"])?;
    live.wait_ready()?;
    until("the gap", SOON, || {
        Ok((counter(&live, "tidemill_lost_records_total")? == 200).then_some(()))
    })?;
    assert_whole(&scene, out, "100 rows, 0 rejected, 200 offsets lost")?;
    send(&scene, 300..310)?;
    until("the next records", SOON, || {
        Ok((read_data_set(&scene.data_set())?.rows.len() == 110).then_some(()))
    })?;
    assert!(live.terminate()?.success(), "{}", live.output());
    send(&scene, 310..350)?;
    delete_before(&scene.brokers, topic, 0, 350)?;
    finish(bounded(&scene, out, &["--until-end"])?)?;
    assert_whole(&scene, out, "110 rows, 0 rejected, 240 offsets lost")?;
    // Nothing can be recorded without a schema.
    let says = ["retention has deleted the oldest records", "--schema"];
    assert_ends(bounded(&scene, "fresh", &["--until-end"])?, 0, &says)?;
    let schema = scene.labels_schema()?;
    finish(bounded(
        &scene,
        "given",
        &["--until-end", "--schema", &schema],
    )?)?;
    assert_whole(&scene, "given", "0 rows, 0 rejected, 350 offsets lost")
}
