//! The examples: the blocks of each page run as they are pasted, in their order, on servers of their own.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sandbox::harness::{Names, Scene};
use sandbox::kafka::create_topics;
use sandbox::stack::{Certificates, PARTITIONS, PASSWORD, SecureKafka, TOPICS, USER, secure_redis};

use crate::quickstart::{Newcomer, checkout, follow};

#[test]
fn the_tutorials_example_runs_as_pasted() -> Result<()> {
    follow(
        "examples/tutorial/README.md",
        &[
            ("send user-events", &["produced"]),
            (
                "hgetall",
                &[
                    "purchases_1h\n2\n",
                    "spend_7d\n60\n",
                    "channels_24h\n3\n",
                    "\"transaction_id\":\"t_1\",\"fraud_score\":0.0,\"is_fraud\":false",
                    "\"transaction_id\":\"t_2\",\"fraud_score\":0.9998,\"is_fraud\":true",
                    "merchant_risk_score",
                ],
            ),
        ],
    )
}

#[test]
fn a_lightgbm_model_is_collected_for_trained_and_served_as_pasted() -> Result<()> {
    follow(
        "examples/lightgbm/README.md",
        &[
            ("collector verify", &["whole"]),
            ("train.py", &[]),
            ("scorer check", &["12 golden rows agree"]),
            (
                "consume",
                &["\"ok\",\"ok\",\"ok\",\"ok\",\"ok\",\"ok\",\"ok\",\"ok\",\"ok\"]"],
            ),
        ],
    )
}

/// Copies the example, with the addresses, paths and passwords of the servers of a test.
fn copy_secure(folder: &Path, own: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
    let example = folder.join("examples/secure");
    fs::create_dir_all(&example)?;
    for entry in fs::read_dir(checkout()?.join("examples/secure"))? {
        let entry = entry?;
        let mut text = fs::read_to_string(entry.path())?;
        for (example, own) in own {
            text = text.replace(example, own);
        }
        fs::write(example.join(entry.file_name()), text)?;
    }
    let settings = fs::read_to_string(example.join("settings.env"))?;
    let pairs = settings.lines().filter_map(|line| line.split_once('='));
    Ok(pairs
        .map(|(name, value)| (name.into(), value.into()))
        .collect())
}

#[test]
fn secure_servers_are_used_as_pasted() -> Result<()> {
    let mut home = Scene::at("", "", Names::unique("secure-example"))?;
    home.keep_folder();
    let certificates = Certificates::create(home.folder())?;
    let kafka = SecureKafka::start(home.folder(), &certificates)?;
    let Some(server) = secure_redis(home.folder(), &certificates, "server", false)? else {
        eprintln!("SKIPPED: this redis-server was built without TLS");
        return Ok(());
    };
    create_topics(&kafka.plain(), &TOPICS, PARTITIONS)?;
    let plain = Scene::at(&kafka.plain(), "", Names::plain())?;
    let payment = r#"{"transaction_id":"t_1","user_id":"u_1","amount":9,"hour_of_day":1,"is_international":0,"merchant_risk_score":0.1,"label":0}"#;
    let event = r#"{"user_id":"u_1","amount":9}"#;
    for (topic, value) in TOPICS.into_iter().zip([event, payment, payment]) {
        plain.send(topic, &[(Some("u_1"), Some(value))])?;
    }

    let authority = certificates.authority_file();
    let redis = format!("127.0.0.1:{}", server.port());
    let folder = tempfile::tempdir()?;
    let environment = copy_secure(
        folder.path(),
        &[
            ("kafka.example.com:9093", &kafka.password()),
            ("redis.example.com:6380", &redis),
            (
                "/etc/tidemill/ca.crt",
                authority.to_str().context("a path in UTF-8")?,
            ),
            ("=tidemill", &format!("={USER}")),
            ("tidemill@", &format!("{USER}@")),
            ("change-me", PASSWORD),
        ],
    )?;
    let page = fs::read_to_string(checkout()?.join("examples/secure/README.md"))?;
    let newcomer = Newcomer::new(folder.path(), &["models"], environment)?;
    newcomer.follow(
        &page,
        &[
            ("featurizer validate", &["ok"]),
            ("explain u_1", &["purchase_count_24h", "whole"]),
        ],
    )
}
