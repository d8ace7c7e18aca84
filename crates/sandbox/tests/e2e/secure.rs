//! Secure connections: a Kafka and a Redis that ask for TLS, certificates and passwords, and what the programs say
//! where something does not fit. No secret shows anywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use sandbox::harness::{Binaries, Names, Scene, until};
use sandbox::kafka::create_topics;
use sandbox::oracle::read_data_set;
use sandbox::stack::{Certificates, PASSWORD, Redis, SecureKafka, USER, secure_redis};

use crate::SOON;

/// Servers for all tests here.
struct Servers {
    certificates: Certificates,
    kafka: SecureKafka,
    /// Asks for user and password, and shows a good certificate; `None` where Redis has no TLS.
    redis: Option<Redis>,
    /// The same, and asks for a certificate.
    mutual_redis: Option<Redis>,
    /// Shows a certificate of long ago.
    expired_redis: Option<Redis>,
}

fn servers() -> Result<&'static Servers> {
    static SERVERS: OnceLock<Result<Servers, String>> = OnceLock::new();
    let start = || -> Result<Servers> {
        // Its folder is what is wanted, and lives as long as this process.
        let mut home = Scene::at("", "", Names::unique("secure-servers"))?;
        home.keep_folder();
        let folder = home.folder().to_owned();
        let certificates = Certificates::create(&folder)?;
        let redis = |name, mutual| secure_redis(&folder, &certificates, name, mutual);
        let servers = Servers {
            kafka: SecureKafka::start(&folder, &certificates)?,
            redis: redis("server", false)?,
            mutual_redis: redis("server", true)?,
            expired_redis: redis("expired", false)?,
            certificates,
        };
        if servers.redis.is_none() {
            eprintln!("SKIPPED, what concerns Redis: this redis-server was built without TLS");
        }
        Ok(servers)
    };
    let servers = SERVERS.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    servers.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

/// A scene at these brokers, its topics made on the broker's plain listener.
fn scene(purpose: &str, brokers: &str) -> Result<Scene> {
    let names = Names::unique(purpose);
    let topics = [
        &names.user_events,
        &names.transactions,
        &names.labeled_events,
    ];
    create_topics(&servers()?.kafka.plain(), &topics.map(String::as_str), 2)?;
    Scene::at(brokers, "redis://127.0.0.1:1", names)
}

/// A file of properties beside the scene's logs.
fn properties(scene: &Scene, name: &str, lines: &[&str]) -> Result<PathBuf> {
    let file = scene.folder().join(name);
    fs::write(&file, lines.join("\n"))?;
    Ok(file)
}

fn send(scene: &Scene, topic: &str, value: &str) -> Result<()> {
    let plain = Scene::at(
        &servers()?.kafka.plain(),
        &scene.redis_url,
        scene.names.clone(),
    )?;
    plain.send(topic, &[(Some("k"), Some(value))])
}

/// A model that reads features, and so makes the scorer connect to Redis.
fn model_with_features() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scorer/fixtures/history.onnx")
}

fn authority() -> Result<String> {
    let file = servers()?.certificates.authority_file();
    Ok(format!("ssl.ca.location={}", text(&file)?))
}

fn password(mechanism: &str, password: &str) -> Vec<String> {
    vec![
        "security.protocol=SASL_SSL".into(),
        format!("sasl.mechanism={mechanism}"),
        format!("sasl.username={USER}"),
        format!("sasl.password={password}"),
    ]
}

fn lines(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

fn identity() -> Result<Vec<String>> {
    let certificates = &servers()?.certificates;
    Ok(vec![
        "security.protocol=SSL".into(),
        format!(
            "ssl.certificate.location={}",
            text(&certificates.certificate("client"))?
        ),
        format!("ssl.key.location={}", text(&certificates.key("client"))?),
    ])
}

#[test]
fn kafka_is_read_by_tls_by_certificate_and_by_every_kind_of_password() -> Result<()> {
    let kafka = &servers()?.kafka;
    let mut ways = vec![
        ("tls", kafka.tls(), vec!["security.protocol=SSL".to_owned()]),
        ("mutual", kafka.mutual(), identity()?),
    ];
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        ways.push((mechanism, kafka.password(), password(mechanism, PASSWORD)));
    }
    for (name, brokers, mut way) in ways {
        let scene = scene("secure", &brokers)?;
        let topic = &scene.names.labeled_events;
        send(&scene, topic, r#"{"transaction_id":"t","label":1}"#)?;
        way.push(authority()?);
        let file = properties(&scene, "kafka.properties", &lines(&way))?;
        let flags = ["--kafka-config", text(&file)?, "--until-end"];
        let mut collector = scene.collector(name, &flags)?;
        let ended = collector.wait_for_end(SOON)?;
        assert!(ended.success(), "{name}: {}", collector.output());
        assert_eq!(read_data_set(&scene.data_set())?.rows.len(), 1, "{name}");
    }
    Ok(())
}

#[test]
fn features_and_predictions_pass_through_secure_servers_and_no_secret_shows() -> Result<()> {
    let servers = servers()?;
    let (Some(redis), Some(mutual)) = (&servers.redis, &servers.mutual_redis) else {
        return Ok(());
    };
    let mut scene = scene("secure-all", &servers.kafka.password())?;
    scene.environment.push(("RUST_LOG".into(), "trace".into()));
    let mut way = password("SCRAM-SHA-512", PASSWORD);
    // All that the client library logs is to be free of secrets too.
    way.extend([authority()?, "debug=all".into()]);
    let kafka = properties(&scene, "kafka.properties", &lines(&way))?;
    let secret = scene.folder().join("password");
    fs::write(&secret, format!("{PASSWORD}\n"))?;
    let certificates = &servers.certificates;
    let (ca, certificate, key) = (
        certificates.authority_file(),
        certificates.certificate("client"),
        certificates.key("client"),
    );
    let url = |redis: &Redis| format!("rediss://{USER}@127.0.0.1:{}", redis.port());
    let shared = [
        "--kafka-config",
        text(&kafka)?,
        "--redis-ca",
        text(&ca)?,
        "--redis-password-file",
        text(&secret)?,
    ];
    let (url, mutual_url) = (url(redis), url(mutual));
    let flags = [&shared[..], &["--redis-url", &url]].concat();
    let mut featurizer = scene.featurizer("featurizer", &flags)?;
    let mutual = [
        "--redis-url",
        &mutual_url,
        "--redis-cert",
        text(&certificate)?,
        "--redis-key",
        text(&key)?,
    ];
    let flags = [&shared[..], &mutual].concat();
    // A second featurizer of a group of its own, on the Redis that asks for a certificate.
    let other = [&flags[..], &["--group", "mutual", "--takeover"]].concat();
    let mut second = scene.featurizer("second", &other)?;
    // Its model reads features.
    let model = model_with_features();
    let flags = [&flags[..], &["--model", text(&model)?]].concat();
    let mut scorer = scene.scorer("scorer", &flags)?;
    send(
        &scene,
        &scene.names.user_events,
        r#"{"user_id":"u","amount":1}"#,
    )?;
    send(
        &scene,
        &scene.names.transactions,
        r#"{"transaction_id":"t","user_id":"u","amount":1,"hour_of_day":1,"is_international":0,"merchant_risk_score":0.1}"#,
    )?;
    let reader = Scene::at(
        &servers.kafka.plain(),
        &scene.redis_url,
        scene.names.clone(),
    )?;
    until("the prediction", SOON, || {
        let found = reader.read(&scene.names.predictions).unwrap_or_default();
        Ok((found.len() == 1).then_some(()))
    })?;
    for program in [&mut featurizer, &mut second, &mut scorer] {
        program.wait_ready()?;
    }
    for program in [&featurizer, &second] {
        let applied = until("the event to be applied", SOON, || {
            let page = program.page("/metrics")?.1;
            let mut counts = page
                .lines()
                .filter_map(|line| line.strip_prefix("tidemill_records_total "));
            // After an interruption it counts again.
            Ok(counts.any(|count| count != "0").then_some(()))
        });
        applied.with_context(|| program.output())?;
    }
    for program in [&mut featurizer, &mut second, &mut scorer] {
        let page = program.page("/metrics")?.1;
        assert!(program.terminate()?.success(), "{}", program.output());
        let output = program.output();
        assert!(!output.contains("cannot connect"), "{output}");
        assert_no_secret(&(output + &page));
    }
    Ok(())
}

/// The password, as it is and as URLs and base64 have it.
fn assert_no_secret(text: &str) {
    // base64 of NUL alice NUL and the password, as PLAIN sends it, and of the password alone.
    for secret in [PASSWORD, "s3cret", "s3cret%3Dp", "czNjcmV0"] {
        let found = text.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "{secret} shows");
    }
}

#[test]
fn help_and_problems_show_no_secret() -> Result<()> {
    let scene = Scene::at(
        "127.0.0.1:1",
        "redis://127.0.0.1:1",
        Names::unique("secrets"),
    )?;
    let misspelt = properties(&scene, "misspelt", &["sasl.pasword=s3cret"])?;
    let half = properties(
        &scene,
        "half",
        &[
            "security.protocol=SASL_SSL",
            "sasl.mechanism=PLAIN",
            "sasl.password=s3cret",
        ],
    )?;
    let url = format!("redis//:{PASSWORD}@127.0.0.1:1");
    for name in ["featurizer", "scorer", "collector"] {
        let run = |arguments: &[&str]| -> Result<(Option<i32>, String)> {
            let output = Command::new(Binaries::build()?.path(name))
                .args(arguments)
                .env("REDIS_URL", &url)
                .env("RUST_LOG", "trace")
                .env("ADMIN_ADDR", "none")
                .current_dir(scene.folder())
                .output()?;
            let text = String::from_utf8([output.stdout, output.stderr].concat())?;
            Ok((output.status.code(), text))
        };
        let model = scene.model()?;
        let model = if name == "scorer" {
            vec!["--model", text(&model)?]
        } else {
            vec![]
        };
        let with = |more: &[&'static str], file: &str| -> Result<(Option<i32>, String)> {
            run(&[&["--kafka-config", file][..], more, &model].concat())
        };
        for (code, told) in [
            run(&["--help"])?,
            run(&["--nonsense"])?,
            with(&["--connect-timeout", "1s"], text(&misspelt)?)?,
            with(&["--connect-timeout", "1s"], text(&half)?)?,
        ] {
            assert!(matches!(code, Some(0 | 64 | 69)), "{code:?} {told}");
            assert_no_secret(&told);
        }
        let told = with(&[], text(&misspelt)?)?.1;
        assert!(told.contains("sasl.pasword"), "{told}");
    }
    Ok(())
}

#[test]
fn what_is_wrong_with_kafka_is_said() -> Result<()> {
    let servers = servers()?;
    let kafka = &servers.kafka;
    let tls = || vec!["security.protocol=SSL".to_owned()];
    let with = |mut way: Vec<String>, line: String| {
        way.push(line);
        way
    };
    let other = servers.certificates.other_authority_file();
    let other = format!("ssl.ca.location={}", text(&other)?);
    let ca = authority()?;
    let cases: [(&str, String, Vec<String>, &[&str]); 8] = [
        (
            "wrong-password",
            kafka.password(),
            with(password("SCRAM-SHA-256", "wrong"), ca.clone()),
            &["uthentication failed", "sasl"],
        ),
        (
            "wrong-plain",
            kafka.password(),
            with(password("PLAIN", "wrong"), ca.clone()),
            &["uthentication failed", "sasl"],
        ),
        (
            "no-mechanism",
            kafka.password(),
            with(password("GSSAPI", "wrong"), ca.clone()),
            &["GSSAPI"],
        ),
        (
            "wrong-ca",
            kafka.tls(),
            with(tls(), other),
            &["certificate", "UnknownIssuer"],
        ),
        (
            "expired",
            kafka.expired(),
            with(tls(), ca.clone()),
            &["certificate expired"],
        ),
        (
            "no-certificate",
            kafka.mutual(),
            with(tls(), ca.clone()),
            &["ertificate", "--kafka-config"],
        ),
        (
            "no-tls",
            kafka.tls(),
            vec![],
            &["SSL listener", "--kafka-config"],
        ),
        (
            "too-much-tls",
            kafka.plain(),
            with(tls(), ca),
            &["PLAINTEXT broker listener", "security.protocol"],
        ),
    ];
    for (name, brokers, way, says) in cases {
        let scene = Scene::at(&brokers, "redis://127.0.0.1:1", Names::unique(name))?;
        let file = properties(&scene, "kafka.properties", &lines(&way))?;
        let flags = ["--kafka-config", text(&file)?, "--connect-timeout", "2s"];
        let mut program = scene.collector(name, &flags)?;
        let code = program.wait_for_end(SOON)?.code();
        let output = program.output();
        // What the library refuses to try is a mistake in the settings.
        let expected = if name == "no-mechanism" { 64 } else { 69 };
        assert_eq!(code, Some(expected), "{name}: {output}");
        let told = output
            .lines()
            .find(|line| line.starts_with("error: "))
            .unwrap_or_default();
        for part in says {
            assert!(told.contains(part), "{name}: {part:?} is not in: {told}");
        }
    }
    Ok(())
}

#[test]
fn what_is_wrong_with_redis_is_said() -> Result<()> {
    let servers = servers()?;
    let (Some(redis), Some(mutual), Some(expired)) = (
        &servers.redis,
        &servers.mutual_redis,
        &servers.expired_redis,
    ) else {
        return Ok(());
    };
    let plain = sandbox::stack::Stack::own_redis()?;
    let (ca, other) = (
        servers.certificates.authority_file(),
        servers.certificates.other_authority_file(),
    );
    let (ca, other) = (text(&ca)?, text(&other)?);
    let url =
        |scheme: &str, redis: &Redis| format!("{scheme}://{USER}:wrong@127.0.0.1:{}", redis.port());
    let cases: [(&str, String, &str, &[&str]); 6] = [
        (
            "wrong-password",
            url("rediss", redis),
            ca,
            &["assword", "--redis-password-file"],
        ),
        (
            "wrong-ca",
            url("rediss", redis),
            other,
            &["UnknownIssuer", "--redis-ca"],
        ),
        (
            "expired",
            url("rediss", expired),
            ca,
            &["certificate expired", "--redis-ca"],
        ),
        ("no-certificate", url("rediss", mutual), ca, &["ertificate"]),
        ("no-tls", url("redis", redis), "", &["rediss://"]),
        ("too-much-tls", url("rediss", &plain), ca, &["no TLS"]),
    ];
    let stack = sandbox::stack::Stack::shared()?;
    for (name, url, ca, says) in cases {
        let scene = Scene::on(stack, Names::unique(name), 1)?;
        let mut flags = vec!["--redis-url", &url];
        if !ca.is_empty() {
            flags.extend(["--redis-ca", ca]);
        }
        let impatient = [&flags[..], &["--connect-timeout", "1s"]].concat();
        let mut featurizer = scene.featurizer("featurizer", &impatient)?;
        let code = featurizer.wait_for_end(SOON)?.code();
        let output = featurizer.output();
        assert_eq!(code, Some(69), "{name}: {output}");
        for part in says {
            assert!(
                output.contains(part),
                "{name}: {part:?} is not in: {output}"
            );
        }
        assert!(!output.contains("wrong@"), "{output}");
        // The scorer runs without features, and says why.
        let model = model_with_features();
        flags.extend(["--model", text(&model)?]);
        let mut scorer = scene.scorer("scorer", &flags)?;
        until("the scorer's reason", SOON, || {
            let page = scorer.page("/readyz").map(|(_, page)| page);
            let said = scorer.output() + &page.unwrap_or_default();
            Ok(says.iter().all(|part| said.contains(part)).then_some(()))
        })
        .with_context(|| scorer.output())?;
        assert!(scorer.terminate()?.success());
    }
    Ok(())
}
