//! Header names are bytes: whatever a producer wrote there, records are used, or set aside with the names as they are.

use std::fs;

use anyhow::Result;
use rdkafka::ClientConfig;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use sandbox::harness::{Names, Program, Scene, until};
use sandbox::oracle::read_data_set;
use serde_json::json;
use tidemill_core::kafka::add_header;

use crate::SOON;
use crate::unusable::rejects;

/// No UTF-8, a zero byte within, nothing at all; and a value of each kind.
const HEADERS: [(&[u8], Option<&[u8]>); 3] = [
    (b"\xff\xfe\0", Some(b"v")),
    (b"a\0b", None),
    (b"", Some(b"")),
];

/// The same, as far as names can be read: up to the zero byte.
const READ: [(&[u8], &[u8]); 3] = [(b"\xff\xfe", b"v"), (b"a", b""), (b"", b"")];

const GOOD: &str = r#"{"user_id":"u_1","transaction_id":"t_1","amount":1.5,"hour_of_day":1,"is_international":0,"merchant_risk_score":0.1,"label":1}"#;

/// Sends a usable record, one that is not, and another usable one, all with such headers.
fn send(scene: &Scene, topic: &str) -> Result<()> {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .create()?;
    for value in [GOOD, "{", GOOD] {
        let headers = HEADERS
            .iter()
            .fold(OwnedHeaders::new(), |headers, (name, value)| {
                add_header(headers, name, *value)
            });
        let record = BaseRecord::<[u8], str>::to(topic).key(b"k").payload(value);
        let sent = producer.send(record.headers(headers));
        sent.map_err(|(error, _)| error)?;
    }
    producer.flush(SOON)?;
    Ok(())
}

/// Waits for the dead letter of the record at offset 1, which is to have the record's headers before our own.
fn assert_letter(scene: &Scene, topic: &str) -> Result<()> {
    let letters = until("a dead letter", SOON, || {
        let found = scene.read(&Names::dead_letters(topic)).unwrap_or_default();
        Ok((!found.is_empty()).then_some(found))
    })?;
    assert_eq!(letters.len(), 1);
    let own = READ.map(|(name, value)| (name.to_vec(), value.to_vec()));
    assert_eq!(letters[0].headers[..3], own);
    assert_eq!(letters[0].header("source.offset").as_deref(), Some("1"));
    Ok(())
}

fn assert_ends_well(mut program: Program) -> Result<()> {
    assert!(program.terminate()?.success(), "{}", program.output());
    Ok(())
}

#[test]
fn featurizer_and_scorer_take_headers_of_any_name() -> Result<()> {
    let scene = Scene::new("header-names", 1)?;
    let names = &scene.names;
    send(&scene, &names.user_events)?;
    send(&scene, &names.transactions)?;
    let featurizer = scene.featurizer("featurizer", &[])?;
    let scorer = scene.scorer("scorer", &[])?;
    assert_letter(&scene, &names.user_events)?;
    assert_letter(&scene, &names.transactions)?;
    until("both events counted", SOON, || {
        let key = names.features_key("u_1");
        let mut count = redis::cmd("HGET");
        count.arg(key).arg("purchase_count_24h");
        let found: Option<String> = count.query(&mut scene.redis()?)?;
        Ok((found.as_deref() == Some("2")).then_some(()))
    })?;
    until("both predictions", SOON, || {
        let found = scene.read(&names.predictions).unwrap_or_default();
        Ok((found.len() == 2).then_some(()))
    })?;
    assert_ends_well(featurizer)?;
    assert_ends_well(scorer)
}

#[test]
fn the_collector_takes_headers_of_any_name_kept_or_not() -> Result<()> {
    let scene = Scene::new("header-names", 1)?;
    send(&scene, &scene.names.labeled_events)?;
    for headers in [true, false] {
        let kept: &[&str] = if headers { &["--headers"] } else { &[] };
        let label = format!("collector-{headers}");
        let mut collector = scene.collector(&label, &[&["--until-end"], kept].concat())?;
        let status = collector.wait_for_end(SOON)?;
        assert!(status.success(), "{}", collector.output());
        let rows = read_data_set(&scene.data_set())?.rows;
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[&(0, 2)].contains_key("_headers"), headers);
        let rejected = rejects(&scene)?;
        assert_eq!((rejected.len(), &rejected[0]["offset"]), (1, &json!(1)));
        fs::remove_dir_all(scene.data_set())?;
    }
    Ok(())
}
