//! Records made to do harm: each ends as a dead letter or is used, the next one is served, and memory stays bounded.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use sandbox::harness::{Names, Program, Scene, until};
use sandbox::oracle::read_data_set;
use sandbox::stack::Stack;

use crate::unusable::rejects;

/// Bytes of the largest values.
const LARGE: usize = 10_000_000;

/// Time limit for all of it.
const LONG: Duration = Duration::from_secs(120);

/// One hostile record.
struct Hostile {
    name: &'static str,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    header: usize,
    /// The reason for which it cannot be used, by featurizer, scorer and collector.
    reasons: [Option<&'static str>; 3],
}

/// A usable record of all three topics, with `more` before its own fields.
fn with(more: &str) -> Vec<u8> {
    format!(
        r#"{{{more}"user_id":"u_1","transaction_id":"t_1","amount":1.5,"hour_of_day":1,"is_international":0,"merchant_risk_score":0.1,"label":1}}"#
    )
    .into_bytes()
}

fn instead(field: &str, value: &str) -> Vec<u8> {
    let record = String::from_utf8(with("")).unwrap();
    let start = record.find(&format!("\"{field}\":")).unwrap() + field.len() + 3;
    let end = start + record[start..].find([',', '}']).unwrap();
    format!("{}{value}{}", &record[..start], &record[end..]).into_bytes()
}

fn all() -> Vec<Hostile> {
    let used = [None; 3];
    let all = |reason| [Some(reason); 3];
    let live = |reason| [Some(reason), Some(reason), None];
    let x = |count| "x".repeat(count);
    let nested = |open: &str, inner: &str, close: &str, depth| {
        format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    let deep = nested("[", "1", "]", LARGE / 2);
    let objects = nested("{\"a\":", "1", "}", LARGE / 6);
    let many = |field: &dyn Fn(usize) -> String, count| (0..count).map(field).collect::<String>();
    let values = [
        ("a long text", with(&format!("\"more\":\"{}\",", x(LARGE))), used),
        ("deep lists", with(&format!("\"more\":{deep},")), used),
        ("deep objects", with(&format!("\"more\":{objects},")), used),
        ("deep lists without an end", format!("{{\"more\":{}", "[".repeat(LARGE)).into(), all("invalid_json")),
        ("nothing but brackets", "[".repeat(LARGE).into(), [Some("not_an_object"), Some("not_an_object"), Some("invalid_json")]),
        ("deep objects without an end", "{\"a\":".repeat(LARGE / 5).into(), all("invalid_json")),
        ("a deep list for a number", instead("amount", &deep), live("wrong_type")),
        ("not UTF-8", [b"{\"more\":\"".to_vec(), vec![0xff; LARGE], b"\"}".to_vec()].concat(), all("not_utf8")),
        ("many fields", with(&many(&|n| format!("\"f{n}\":{n},"), 700_000)), used),
        ("many fields of one name", with(&many(&|_| "\"amount\":2,".into(), 800_000)), used),
        ("many fields in an object", with(&format!("\"more\":{{{}\"z\":1}},", many(&|n| format!("\"f{n}\":{n},"), 600_000))), used),
        ("many objects of many columns", with(&format!("\"items\":[{{{}\"z\":1}}{}],", many(&|n| format!("\"f{n}\":{n},"), 900), ",{}".repeat(LARGE / 3 - 9_999))), used),
        ("many small numbers", with(&format!("\"more\":[{}1],", "1,".repeat(LARGE / 2 - 9))), used),
        ("many escapes", with(&format!("\"more\":\"{}\",", "\\u0000".repeat(LARGE / 6 - 99))), used),
        ("a number too large", instead("amount", "1e999"), live("invalid_json")),
        ("many digits", instead("amount", &"9".repeat(1_000_000)), live("invalid_json")),
        ("many decimals", instead("amount", &format!("0.{}", "1".repeat(5_000_000))), used),
        ("a number of a large exponent", instead("amount", "1e-99999999999999999999"), used),
        ("a long id", instead("user_id", &format!("\"{}\"", x(LARGE))), [Some("out_of_range"), None, None]),
        ("a long transaction", instead("transaction_id", &format!("\"{}\"", x(LARGE))), [None, Some("out_of_range"), None]),
        ("a long time", with(&format!("\"timestamp\":\"{}\",", "\\u0001".repeat(LARGE / 6 - 99))), [Some("invalid_timestamp"), None, None]),
        ("half a character", instead("transaction_id", "\"\\ud800\""), [None, Some("invalid_json"), None]),
        ("NUL in an id", instead("transaction_id", "\"\\u0000\""), used),
        ("NUL", vec![0; 100], all("invalid_json")),
        ("nothing", Vec::new(), all("empty_value")),
        ("a byte order mark", [b"\xef\xbb\xbf".to_vec(), with("")].concat(), all("invalid_json")),
        ("two objects", [with(""), with("")].concat(), all("invalid_json")),
        ("half a claim", b"{\"$claim\":{\"path\":\"".to_vec(), all("claim_invalid")),
        ("a long claim", format!("{{\"$claim\":{{\"path\":\"{}\"}}}}", x(LARGE)).into(), all("claim_invalid")),
        ("a claim of much", format!("{{\"$claim\":{{\"path\":\"p\",\"length\":18446744073709551615,\"sha256\":\"{}\"}}}}", "0".repeat(64)).into(), all("claim_not_configured")),
    ];
    let record = |name, key, value, header, reasons| Hostile {
        name,
        key,
        value,
        header,
        reasons,
    };
    let key = || Some(b"k".to_vec());
    let mut records: Vec<Hostile> = values
        .into_iter()
        .map(|(name, value, reasons)| record(name, key(), Some(value), 0, reasons))
        .collect();
    let large_key = || Some(vec![b'k'; LARGE / 2]);
    records.extend([
        record("a large key", large_key(), Some(with("")), 0, used),
        record(
            "a large key of nonsense",
            large_key(),
            Some(b"{".to_vec()),
            0,
            all("invalid_json"),
        ),
        record(
            "a large key without a value",
            large_key(),
            None,
            0,
            [
                Some("out_of_range"),
                Some("empty_value"),
                Some("empty_value"),
            ],
        ),
        record(
            "a key that is not UTF-8",
            Some(vec![0xff; 100]),
            None,
            0,
            [Some("not_utf8"), Some("empty_value"), Some("empty_value")],
        ),
        record(
            "a large header",
            key(),
            Some(b"{".to_vec()),
            LARGE / 2,
            all("invalid_json"),
        ),
        record(
            "a large header of a good one",
            key(),
            Some(with("")),
            LARGE / 2,
            used,
        ),
    ]);
    records
}

/// Creates a topic that takes large records.
fn large_topic(scene: &Scene, topic: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .create()?;
    let limit = (2 * LARGE).to_string();
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1)).set("max.message.bytes", &limit);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let outcome = runtime.block_on(admin.create_topics(&[new], &AdminOptions::new()))?;
    outcome
        .into_iter()
        .try_for_each(|topic| topic.map(drop).map_err(|(_, code)| code.into()))
}

/// Sends all records, each with a usable one before and behind it.
fn send(scene: &Scene, topic: &str, records: &[Hostile]) -> Result<()> {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .set("message.max.bytes", (2 * LARGE).to_string())
        .create()?;
    let good = with("");
    let put = |record: BaseRecord<'_, [u8], [u8]>| {
        producer
            .send(record)
            .map_err(|(error, _)| anyhow::Error::from(error))
    };
    for Hostile {
        key, value, header, ..
    } in records
    {
        put(BaseRecord::to(topic).payload(good.as_slice()))?;
        let mut record = BaseRecord::to(topic);
        (record.key, record.payload) = (key.as_deref(), value.as_deref());
        if *header > 0 {
            let value = "h".repeat(*header);
            let header = Header {
                key: "large",
                value: Some(&value),
            };
            record.headers = Some(OwnedHeaders::new().insert(header));
        }
        put(record)?;
    }
    put(BaseRecord::to(topic).payload(good.as_slice()))?;
    producer.flush(LONG)?;
    Ok(())
}

/// A scene whose topics take large records.
fn scene(purpose: &str) -> Result<Scene> {
    let stack = Stack::shared()?;
    Scene::at(stack.brokers(), stack.redis_url(), Names::unique(purpose))
}

/// The most memory that a program ever had, in megabytes.
fn peak_mb(program: &Program) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().split(' ').next());
    Ok(number.context("no VmHWM")?.parse::<u64>()? / 1024)
}

/// Reason by offset, as expected of the program `which`.
fn expected(records: &[Hostile], which: usize) -> BTreeMap<i64, &'static str> {
    let reasons = records.iter().map(|record| record.reasons[which]);
    let numbered = reasons.zip((1_i64..).step_by(2));
    numbered
        .filter_map(|(reason, offset)| Some((offset, reason?)))
        .collect()
}

fn named(records: &[Hostile], reasons: BTreeMap<i64, &str>) -> Vec<(&'static str, String)> {
    let name = |offset: i64| records[(offset / 2) as usize].name;
    reasons
        .into_iter()
        .map(|(offset, reason)| (name(offset), reason.to_owned()))
        .collect()
}

/// Waits for all dead letters of a topic and compares them with what is expected.
fn assert_letters(scene: &Scene, topic: &str, records: &[Hostile], which: usize) -> Result<()> {
    let expected = expected(records, which);
    let letters = until("all dead letters", LONG, || {
        let found = scene.read(&Names::dead_letters(topic)).unwrap_or_default();
        Ok((found.len() >= expected.len()).then_some(found))
    })?;
    let mut found = BTreeMap::new();
    for letter in &letters {
        let offset: i64 = letter
            .header("source.offset")
            .context("an offset")?
            .parse()?;
        assert!(
            letter
                .header("error")
                .is_some_and(|error| error.len() < 1_000)
        );
        found.insert(offset, letter.header("reason").context("a reason")?);
        let own = &records[(offset / 2) as usize];
        for (part, own, stored) in [
            ("key", &own.key, &letter.key),
            ("value", &own.value, &letter.value),
        ] {
            let length = letter.header(&format!("{part}.length"));
            match length {
                None => assert_eq!(stored, own, "{part}"),
                Some(length) => {
                    assert_eq!(Some(length), own.as_ref().map(|own| own.len().to_string()));
                }
            }
        }
    }
    let found = found
        .iter()
        .map(|(offset, reason)| (*offset, reason.as_str()))
        .collect();
    assert_eq!(named(records, found), named(records, expected));
    Ok(())
}

#[test]
fn the_featurizer_survives_hostile_events() -> Result<()> {
    let scene = scene("hostile-events")?;
    let topic = &scene.names.user_events;
    large_topic(&scene, topic)?;
    let records = all();
    send(&scene, topic, &records)?;
    let mut featurizer = scene.featurizer("featurizer", &["--workers", "1", "--cache-mb", "64"])?;
    assert_letters(&scene, topic, &records, 0)?;
    let unusable = expected(&records, 0).len();
    let count = 2 * records.len() + 1 - unusable;
    until("the user's features", LONG, || {
        let key = scene.names.features_key("u_1");
        let found: Option<String> = redis::cmd("HGET")
            .arg(key)
            .arg("purchase_count_24h")
            .query(&mut scene.redis()?)?;
        Ok((found == Some(count.to_string())).then_some(()))
    })?;
    let peak = peak_mb(&featurizer)?;
    eprintln!("featurizer, at most {peak} MB");
    assert!(peak < BOUND_MB, "{peak} MB");
    assert!(featurizer.terminate()?.success());
    Ok(())
}

#[test]
fn the_scorer_survives_hostile_transactions() -> Result<()> {
    let scene = scene("hostile-transactions")?;
    let topic = &scene.names.transactions;
    large_topic(&scene, topic)?;
    let records = all();
    send(&scene, topic, &records)?;
    let mut scorer = scene.scorer("scorer", &["--workers", "1"])?;
    assert_letters(&scene, topic, &records, 1)?;
    let unusable = expected(&records, 1).len();
    let count = 2 * records.len() + 1 - unusable;
    let found = until("all predictions", LONG, || {
        let found = scene
            .read(&scene.names.predictions)
            .unwrap_or_default()
            .len();
        Ok((found >= count).then_some(found))
    })?;
    assert_eq!(found, count);
    let peak = peak_mb(&scorer)?;
    eprintln!("scorer, at most {peak} MB");
    assert!(peak < BOUND_MB, "{peak} MB");
    assert!(scorer.terminate()?.success());
    Ok(())
}

#[test]
fn the_collector_survives_hostile_records() -> Result<()> {
    let scene = scene("hostile-labels")?;
    let topic = &scene.names.labeled_events;
    large_topic(&scene, topic)?;
    let records = all();
    send(&scene, topic, &records)?;
    let few = ["--schema-records", "10"];
    let flags = ["--workers", "1", "--memory-mb", "256", "--max-age", "1s"];
    let flags = [&flags[..], &few].concat();
    let mut collector = scene.collector("collector", &flags)?;
    let expected = expected(&records, 2);
    let count = 2 * records.len() + 1;
    until("all records in the data set", LONG, || {
        let page = collector
            .page("/metrics")
            .map(|page| page.1)
            .unwrap_or_default();
        let sum = |name: &str| -> usize {
            let lines = page.lines().filter(|line| line.starts_with(name));
            lines
                .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok())
                .sum()
        };
        let done = sum("tidemill_rows_total") + sum("tidemill_rejected_total");
        Ok((done >= count).then_some(()))
    })?;
    let peak = peak_mb(&collector)?;
    eprintln!("collector, at most {peak} MB");
    assert!(peak < 256 + BOUND_MB, "{peak} MB");
    assert!(collector.terminate()?.success());
    let found = rejects(&scene)?;
    let found: Vec<(i64, String)> = found
        .iter()
        .map(|line| {
            (
                line["offset"].as_i64().unwrap(),
                line["reason"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let found = found
        .iter()
        .map(|(offset, reason)| (*offset, reason.as_str()))
        .collect();
    assert_eq!(named(&records, found), named(&records, expected.clone()));
    assert_eq!(
        read_data_set(&scene.data_set())?.rows.len(),
        count - expected.len()
    );
    Ok(())
}

/// Memory that a program may need for records of 10 MB, in addition to that of its flags: the consumer's queue of 32 MB and
/// what is fetched into it, one value with what is made of it, and the program itself.
const BOUND_MB: u64 = 512;
