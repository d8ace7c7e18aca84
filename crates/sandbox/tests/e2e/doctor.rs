//! `doctor` names what is wrong, with each mistake provoked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use sandbox::harness::{Names, Program, Scene, until};
use sandbox::kafka::{Producer, delete_before};
use sandbox::stack::Stack;

use crate::SOON;
use crate::operations::{EVENT, PAYMENT, gauge};

/// The exit code and report of a doctor.
fn diagnosis(mut doctor: Program) -> Result<(i32, String)> {
    let status = doctor.wait_for_end(SOON)?;
    let code = status.code().context("the doctor was killed")?;
    Ok((code, doctor.output()))
}

/// The report's line of `check` that says all of these.
fn assert_found(report: &str, level: &str, check: &str, says: &[&str]) {
    let found = report.lines().any(|line| {
        let start = format!("{level:8} {check} ");
        line.starts_with(&start) && says.iter().all(|part| line.contains(part))
    });
    assert!(found, "no {level} of {check} saying {says:?} in:\n{report}");
}

/// Sets a property of a topic.
fn configure(brokers: &str, topic: &str, name: &str, value: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()?;
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let outcome = runtime.block_on(admin.alter_configs(&[change], &AdminOptions::new()))?;
    assert!(outcome.iter().all(Result::is_ok), "{outcome:?}");
    Ok(())
}

#[test]
fn the_doctor_finds_no_problem_where_there_is_none() -> Result<()> {
    let scene = Scene::new("healthy", 2)?;
    let names = &scene.names;
    scene.send(&names.user_events, &[(Some("u_1"), Some(EVENT))])?;
    scene.send(&names.transactions, &[(Some("t_1"), Some(PAYMENT))])?;
    scene.send(&names.labeled_events, &[(None, Some(r#"{"label":1}"#))])?;
    let two = ["--workers", "2"];
    let mut all = [
        scene.featurizer("featurizer", &two)?,
        scene.scorer("scorer", &two)?,
        scene.collector("collector", &two)?,
    ];
    for program in &mut all {
        program.wait_ready()?;
    }
    let doctors = [
        scene.featurizer("doctor-f", &["doctor", "--workers", "2"])?,
        scene.scorer("doctor-s", &["doctor", "--workers", "2"])?,
        scene.collector("doctor-c", &["doctor", "--workers", "2"])?,
    ];
    for (doctor, own) in doctors.into_iter().zip(["owner", "model", "out"]) {
        let (code, report) = diagnosis(doctor)?;
        assert_eq!(code, 0, "{report}");
        assert!(report.contains("0 problems"), "{report}");
        for check in [
            "brokers",
            "retention",
            "records",
            "members",
            "position",
            own,
        ] {
            assert_found(&report, "ok", check, &[]);
        }
    }
    let (code, report) = diagnosis(scene.featurizer("json", &["doctor", "--json"])?)?;
    assert_eq!(code, 0, "{report}");
    let json = &report[report.find("{\n").context("no JSON")?..];
    let report: serde_json::Value = serde_json::from_str(json)?;
    let findings = report["findings"].as_array().context("no findings")?;
    assert!(
        findings
            .iter()
            .any(|one| one["check"] == "keys" && one["level"] == "ok")
    );
    Ok(())
}

#[test]
fn no_brokers_available() -> Result<()> {
    let nobody = "localhost:1";
    let scene = Scene::at(
        nobody,
        &format!("redis://{nobody}"),
        Names::unique("nobody"),
    )?;
    let claims = scene.folder().to_str().context("a path in UTF-8")?;
    let flags = ["doctor", "--connect-timeout", "1s", "--claims", claims];
    for doctor in [
        scene.featurizer("featurizer", &flags)?,
        scene.scorer("scorer", &flags)?,
        scene.collector("collector", &flags)?,
    ] {
        let (code, report) = diagnosis(doctor)?;
        assert_eq!(code, 1, "{report}");
        assert_found(
            &report,
            "problem",
            "brokers",
            &[
                "no brokers available",
                nobody,
                "refuses connections",
                "--brokers",
            ],
        );
        let told =
            |line: &&str| line.starts_with("problem") && line.contains("refuses connections");
        assert_eq!(report.lines().filter(told).count(), 1, "{report}");
        assert!(!report.contains("suppressed"), "{report}");
        // The other checks go on.
        assert_found(&report, "ok", "claims", &[]);
    }
    Ok(())
}

#[test]
fn a_wrong_advertised_listener() -> Result<()> {
    let mut kafka = Stack::own_kafka()?;
    let redis = Stack::shared()?.redis_url();
    // A port where nobody listens, and a name that only the broker's own network knows.
    for address in ["localhost:1", "kafka-0.invalid:9092"] {
        kafka.advertise(address)?;
        let scene = Scene::at(&kafka.brokers(), redis, Names::unique("elsewhere"))?;
        for doctor in [
            scene.featurizer("featurizer", &["doctor"])?,
            scene.scorer("scorer", &["doctor"])?,
            scene.collector("collector", &["doctor"])?,
        ] {
            let (code, report) = diagnosis(doctor)?;
            assert_eq!(code, 1, "{report}");
            let says = ["wrong advertised listener", address, "advertised.listeners"];
            assert_found(&report, "problem", "listeners", &says);
        }
    }
    Ok(())
}

#[test]
fn receives_nothing_because_of_where_the_group_is() -> Result<()> {
    let scene = Scene::new("nothing", 1)?;
    let (topic, group) = (&scene.names.transactions, &scene.names.scorer_group);
    let doctor = |label: &str, more: &[&str]| {
        let flags = [&["doctor"], more].concat();
        diagnosis(scene.scorer(label, &flags)?)
    };
    let (_, report) = doctor("empty", &[])?;
    assert_found(
        &report,
        "warning",
        "position",
        &["receives nothing", "no records"],
    );
    let (code, report) = doctor("absent", &["--topic", "no-such-topic"])?;
    assert_eq!(code, 1, "{report}");
    assert_found(
        &report,
        "problem",
        "topic",
        &["receives nothing", "no-such-topic"],
    );

    // There are records, but a group without a position starts behind them.
    scene.send(topic, &[(Some("t_1"), Some(PAYMENT))])?;
    let (_, report) = doctor("latest", &["--start", "latest"])?;
    let says = ["receives nothing of the 1 records", "--start earliest"];
    assert_found(&report, "warning", "position", &says);

    // The group has read everything.
    let mut scorer = scene.scorer("scorer", &[])?;
    scorer.wait_ready()?;
    until("the prediction", SOON, || {
        let found = scene.read(&scene.names.predictions).unwrap_or_default();
        Ok((found.len() == 1).then_some(()))
    })?;
    assert!(scorer.terminate()?.success());
    let (code, report) = doctor("read", &[])?;
    assert_eq!(code, 0, "{report}");
    assert_found(
        &report,
        "ok",
        "position",
        &["at the end", "receives nothing until", "--reset"],
    );

    // Another application takes the group's partitions.
    let other: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .set("group.id", group)
        .set("client.id", "another-application")
        .create()?;
    other.subscribe(&[topic])?;
    until("the other's assignment", SOON, || {
        let _polled = other.poll(Duration::from_millis(100));
        Ok((other.assignment()?.count() > 0).then_some(()))
    })?;
    let (code, report) = doctor("shared", &[])?;
    assert_eq!(code, 1, "{report}");
    let says = ["receives nothing", "another-application", "--group"];
    assert_found(&report, "problem", "members", &says);
    Ok(())
}

#[test]
fn out_of_order_because_of_keys_or_partitioners() -> Result<()> {
    let event = |user: &str| format!(r#"{{"user_id":"{user}","amount":1}}"#);
    let users: Vec<String> = (0..40).map(|number| format!("u_{number}")).collect();
    let judged = |purpose: &str, records: &[(Option<String>, String)]| -> Result<String> {
        let scene = Scene::new(purpose, 4)?;
        let records: Vec<(Option<&str>, Option<&str>)> = records
            .iter()
            .map(|(key, value)| (key.as_deref(), Some(value.as_str())))
            .collect();
        scene.send(&scene.names.user_events, &records)?;
        let (code, report) = diagnosis(scene.featurizer("doctor", &["doctor"])?)?;
        assert_eq!(code, 1, "{report}");
        Ok(report)
    };
    let unkeyed: Vec<_> = users.iter().map(|user| (None, event(user))).collect();
    let report = judged("unkeyed", &unkeyed)?;
    assert_found(
        &report,
        "problem",
        "keys",
        &["out of order", "40 of 40", "no key"],
    );

    let odd = |number: usize| format!("key-{number}");
    let by_other_keys: Vec<_> = (0..40).map(|n| (Some(odd(n)), event("u_1"))).collect();
    let report = judged("other-keys", &by_other_keys)?;
    assert_found(
        &report,
        "problem",
        "keys",
        &["out of order", "not the user_id"],
    );

    // One producer as Java clients are, one as librdkafka is without being told.
    let scene = Scene::new("partitioners", 4)?;
    let topic = &scene.names.user_events;
    let values: Vec<String> = users.iter().map(|user| event(user)).collect();
    let records: Vec<_> = users
        .iter()
        .zip(&values)
        .map(|(user, value)| (Some(user.as_str()), Some(value.as_str())))
        .collect();
    scene.send(topic, &records)?;
    let plain: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .create()?;
    for (user, value) in users.iter().zip(&values) {
        let record = BaseRecord::to(topic).key(user).payload(value);
        plain.send(record).map_err(|(error, _)| error)?;
    }
    plain.flush(SOON)?;
    let (code, report) = diagnosis(scene.featurizer("doctor", &["doctor"])?)?;
    assert_eq!(code, 1, "{report}");
    let says = ["out of order", "mixed partitioners", "murmur2_random"];
    assert_found(&report, "problem", "keys", &says);
    Ok(())
}

#[test]
fn lag_that_grows() -> Result<()> {
    let redis = Stack::own_redis()?;
    let scene = Scene::new("slow", 1)?;
    let url = redis.url();
    let mut featurizer = scene.featurizer("featurizer", &["--redis-url", &url])?;
    featurizer.wait_ready()?;
    // Whatever keeps a featurizer from writing keeps it from going on.
    redis.pause()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, brokers, topic) = (
        stop.clone(),
        scene.brokers.clone(),
        scene.names.user_events.clone(),
    );
    let load = thread::spawn(move || -> Result<()> {
        let producer = Producer::open(&brokers)?;
        while !stopped.load(Ordering::Relaxed) {
            producer.send(&topic, Some(b"u_1"), Some(EVENT.as_bytes()), None)?;
            thread::sleep(Duration::from_millis(10));
        }
        producer.flush()
    });
    let mut count = 0;
    let found = until("the diagnosis", 2 * SOON, || {
        count += 1;
        // Its own Redis: it is the lag that is looked for.
        let doctor = scene.featurizer(&format!("doctor-{count}"), &["doctor"])?;
        let (code, report) = diagnosis(doctor)?;
        Ok(report.contains("lag grows").then_some((code, report)))
    });
    stop.store(true, Ordering::Relaxed);
    let sent = load.join().expect("the load does not panic");
    let lag = gauge(&featurizer, "tidemill_lag_records");
    redis.resume()?;
    sent?;
    let (code, report) = found?;
    assert_eq!(code, 1, "{report}");
    assert_found(
        &report,
        "problem",
        "lag",
        &["lag grows", "records a second come in"],
    );
    assert!(lag? > 0.0, "the metric tells it too");
    until("the lag to go", 2 * SOON, || {
        let gone = gauge(&featurizer, "tidemill_lag_records")? == 0.0
            && gauge(&featurizer, "tidemill_lag_seconds")? == 0.0;
        Ok(gone.then_some(()))
    })?;
    assert!(featurizer.terminate()?.success());
    Ok(())
}

#[test]
fn messages_too_large() -> Result<()> {
    let scene = Scene::new("large", 1)?;
    let topic = &scene.names.user_events;
    let letters = Names::dead_letters(topic);
    sandbox::kafka::create_topics(&scene.brokers, &[&letters], 1)?;
    configure(&scene.brokers, &letters, "max.message.bytes", "10000")?;
    // Nothing that compression would make small.
    let mut state = 1_u32;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (state >> 24) as u8 % 26)
    };
    let large: String = (0..50_000).map(|_| letter()).collect();
    scene.send(topic, &[(Some("u_1"), Some(&large))])?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    featurizer.wait_ready()?;
    let letter = until("the dead letter", SOON, || Ok(scene.read(&letters)?.pop()))?;
    assert_eq!(letter.header("value.length"), Some(large.len().to_string()));
    let (_, report) = diagnosis(scene.featurizer("letters", &["doctor"])?)?;
    let says = ["message too large", "1048588", "10000", "SHA-256"];
    assert_found(&report, "warning", "size", &says);
    assert!(featurizer.terminate()?.success());

    // The topic itself takes less than its producers would send.
    configure(&scene.brokers, topic, "max.message.bytes", "1000")?;
    let refused = scene.send(topic, &[(None, Some(&large))]);
    assert!(refused.is_err(), "the producer is refused");
    let (_, report) = diagnosis(scene.featurizer("topic", &["doctor"])?)?;
    let says = [
        "message too large",
        "more than 1000 bytes",
        "max.message.bytes",
    ];
    assert_found(&report, "warning", "size", &says);
    Ok(())
}

#[test]
fn retention_redis_owner_model_and_folder() -> Result<()> {
    let redis = Stack::own_redis()?;
    let scene = Scene::new("settings", 1)?;
    let names = &scene.names;
    configure(
        &scene.brokers,
        &names.user_events,
        "retention.ms",
        "3600000",
    )?;
    let mut connection = redis::Client::open(redis.url())?.get_connection()?;
    for (name, value) in [("maxmemory", "1gb"), ("maxmemory-policy", "allkeys-lru")] {
        redis::cmd("CONFIG")
            .arg("SET")
            .arg(name)
            .arg(value)
            .exec(&mut connection)?;
    }
    let owner = format!("{}owner", names.key_prefix);
    redis::cmd("SET")
        .arg(&owner)
        .arg("group other")
        .exec(&mut connection)?;
    let expiry = format!("{}expiry:{}:0", names.key_prefix, names.user_events);
    redis::cmd("SET")
        .arg(&expiry)
        .arg("another's")
        .exec(&mut connection)?;
    let (code, report) =
        diagnosis(scene.featurizer("featurizer", &["doctor", "--redis-url", &redis.url()])?)?;
    assert_eq!(code, 1, "{report}");
    assert_found(&report, "problem", "retention", &["1h", "looks back 1day"]);
    assert_found(
        &report,
        "problem",
        "eviction",
        &["allkeys-lru", "noeviction"],
    );
    assert_found(&report, "problem", "owner", &["group other", "--takeover"]);
    assert_found(&report, "problem", "keys", &[&expiry, "string", "zset"]);

    let (code, report) =
        diagnosis(scene.scorer("scorer", &["doctor", "--model", "/no/such.onnx"])?)?;
    assert_eq!(code, 1, "{report}");
    assert_found(&report, "problem", "model", &["/no/such.onnx"]);

    let file = scene.folder().join("a-file");
    std::fs::write(&file, "")?;
    let out = file.join("data");
    let (code, report) =
        diagnosis(scene.collector("collector", &["doctor", "--out", out.to_str().unwrap()])?)?;
    assert_eq!(code, 1, "{report}");
    assert_found(&report, "problem", "out", &["cannot write", "a-file"]);
    Ok(())
}

#[test]
fn a_data_set_against_its_log_and_claims_against_their_store() -> Result<()> {
    let scene = Scene::new("behind", 1)?;
    let topic = &scene.names.labeled_events;
    let label = (None, Some(r#"{"label":1}"#));
    scene.send(topic, &[label; 5])?;
    let doctor = |label: &str, more: &[&str]| {
        let flags = [&["doctor"], more].concat();
        diagnosis(scene.collector(label, &flags)?)
    };
    let (_, report) = doctor("none", &[])?;
    assert_found(&report, "ok", "files", &["none of", "yet"]);
    let mut collector = scene.collector("collector", &["--until-end"])?;
    assert!(collector.wait_for_end(SOON)?.success());
    scene.send(topic, &[label; 5])?;
    let (code, report) = doctor("behind", &[])?;
    assert_eq!(code, 0, "{report}");
    assert_found(&report, "ok", "files", &["5 offsets before the end"]);
    delete_before(&scene.brokers, topic, 0, 8)?;
    let (code, report) = doctor("gap", &[])?;
    assert_eq!(code, 1, "{report}");
    let says = ["deleted 3 records", "retention.ms"];
    assert_found(&report, "problem", "files", &says);
    let other = &scene.names.transactions;
    scene.send(other, &[(None, Some(PAYMENT))])?;
    let data_set = scene.data_set();
    let file = std::fs::read_dir(&data_set)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().contains(&format!("/{topic}+")))
        .context("a data file")?;
    std::fs::copy(
        &file,
        data_set.join(format!("{topic}+00000+00000000000000000007.parquet")),
    )?;
    let (code, report) = doctor("copied", &[])?;
    assert_eq!(code, 1, "{report}");
    let says = ["should be named", "collector verify"];
    assert_found(&report, "problem", "files", &says);

    let claim = r#"{"$claim":{"path":"no/such","length":1,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}"#;
    let folder = scene.folder().join("claims");
    std::fs::create_dir(&folder)?;
    let place = [
        "doctor",
        "--claims",
        folder.to_str().context("a path in UTF-8")?,
    ];
    let (_, report) = diagnosis(scene.scorer("unclaimed", &place)?)?;
    assert_found(&report, "ok", "claims", &["answers", "no claim"]);
    scene.send(other, &[(None, Some(claim))])?;
    let (code, report) = diagnosis(scene.scorer("missing", &place)?)?;
    assert_eq!(code, 1, "{report}");
    let says = ["claim_missing", "--claims"];
    assert_found(&report, "problem", "claims", &says);
    let (_, report) = diagnosis(scene.scorer("no-place", &["doctor"])?)?;
    assert_found(&report, "warning", "claims", &["there is no --claims"]);
    Ok(())
}
