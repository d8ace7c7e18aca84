//! Starts that cannot succeed, and what they say.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use anyhow::Result;
use sandbox::harness::{Binaries, Names, Scene, until};
use sandbox::stack::Stack;

use crate::{SOON, assert_ends};

/// Nobody listens here: port 1 is reserved and below what users may open.
const NOBODY: &str = "localhost:1";

fn nowhere() -> Result<Scene> {
    Scene::at(
        NOBODY,
        &format!("redis://{NOBODY}"),
        Names::unique("nowhere"),
    )
}

#[test]
fn an_unknown_flag_is_named() -> Result<()> {
    let scene = nowhere()?;
    assert_ends(
        scene.featurizer("featurizer", &["--nonsense"])?,
        64,
        &["--nonsense"],
    )?;
    assert_ends(
        scene.scorer("scorer", &["--nonsense"])?,
        64,
        &["--nonsense"],
    )?;
    assert_ends(
        scene.collector("collector", &["--nonsense"])?,
        64,
        &["--nonsense"],
    )
}

#[test]
fn all_bad_values_are_named_at_once() -> Result<()> {
    let scene = nowhere()?;
    let bad = ["--workers", "0", "--connect-timeout", "soon"];
    let says = ["--workers", "0", "--connect-timeout", "soon", "30s"];
    let says = &says[..4];
    assert_ends(scene.featurizer("featurizer", &bad)?, 64, says)?;
    assert_ends(scene.scorer("scorer", &bad)?, 64, says)?;
    assert_ends(scene.collector("collector", &bad)?, 64, says)
}

#[test]
fn topics_that_would_make_a_loop_are_refused() -> Result<()> {
    let scene = nowhere()?;
    let (events, payments) = (&scene.names.user_events, &scene.names.transactions);
    let letters = ["--dead-letter-topic", events];
    let says = ["--topic and --dead-letter-topic are both", events];
    assert_ends(scene.featurizer("featurizer", &letters)?, 64, &says)?;
    for command in ["validate", "doctor"] {
        let flags = [&[command][..], &letters].concat();
        assert_ends(scene.featurizer(command, &flags)?, 64, &says)?;
    }
    let letters = ["--dead-letter-topic", payments];
    let says = ["--topic and --dead-letter-topic are both", payments];
    assert_ends(scene.scorer("letters", &letters)?, 64, &says)?;
    let output = ["--output-topic", payments];
    let says = ["--topic and --output-topic are both", payments];
    assert_ends(scene.scorer("output", &output)?, 64, &says)?;
    let usual = format!("{payments}.dead-letter");
    for (label, flags) in [
        (
            "one",
            ["--output-topic", "both", "--dead-letter-topic", "both"].to_vec(),
        ),
        ("usual", ["--output-topic", &usual].to_vec()),
    ] {
        let says = ["--output-topic and --dead-letter-topic are both"];
        assert_ends(scene.scorer(label, &flags)?, 64, &says)?;
    }
    Ok(())
}

#[test]
fn kafka_properties_that_cannot_work_are_all_named_at_once() -> Result<()> {
    let scene = nowhere()?;
    let file = scene.folder().join("kafka.properties");
    let text = "group.instance.id=one\npartition.assignment.strategy=range\ngroup.protocol=consumer\n\
                request.required.acks=1\nmax.in.flight.requests.per.connection=10\n\
                session.timeout.ms=90000\nsasl.pasword=x\n";
    fs::write(&file, text)?;
    let file = file.display().to_string();
    let flags = [
        "--kafka-config",
        &file,
        "--brokers",
        "kafka://a:9092,b:99999",
    ];
    let says = [
        "line 1: group.instance.id",
        "--instance",
        "line 2: partition.assignment.strategy",
        "line 3: group.protocol",
        "line 4: request.required.acks",
        "max.in.flight.requests.per.connection",
        "session.timeout.ms",
        "max.poll.interval.ms is 60000 here",
        "sasl.pasword",
        "\"kafka://a:9092\"",
        "\"b:99999\"",
    ];
    for program in [
        scene.featurizer("featurizer", &flags)?,
        scene.scorer("scorer", &flags)?,
        scene.collector("collector", &flags)?,
    ] {
        assert_ends(program, 64, &says)?;
    }
    Ok(())
}

#[test]
fn unreachable_brokers_are_named_with_the_remedy() -> Result<()> {
    let scene = nowhere()?;
    let soon = ["--connect-timeout", "1s"];
    let says = [NOBODY, "--brokers"];
    // Redis is there, so that it is the brokers who are missed.
    let stack = sandbox::stack::Stack::shared()?;
    let with_redis = ["--connect-timeout", "1s", "--redis-url", stack.redis_url()];
    assert_ends(scene.featurizer("featurizer", &with_redis)?, 69, &says)?;
    assert_ends(scene.scorer("scorer", &soon)?, 69, &says)?;
    assert_ends(scene.collector("collector", &soon)?, 69, &says)
}

#[test]
fn an_unreachable_redis_is_named_with_the_remedy() -> Result<()> {
    let scene = Scene::new("no-redis", 1)?;
    let url = format!("redis://{NOBODY}");
    let absent = ["--connect-timeout", "1s", "--redis-url", &url];
    assert_ends(
        scene.featurizer("featurizer", &absent)?,
        69,
        &[NOBODY, "--redis-url"],
    )
}

#[test]
fn a_taken_admin_port_is_replaced_only_where_nobody_gave_it() -> Result<()> {
    for (name, port) in [("featurizer", 9101), ("scorer", 9102), ("collector", 9103)] {
        let address = format!("127.0.0.1:{port}");
        // Taken by this or by whoever has it.
        let _taken = TcpListener::bind(&address);
        let run = |given: &[&str]| -> Result<(Option<i32>, String)> {
            let folder = tempfile::tempdir()?;
            let model = nowhere()?.model()?;
            let output = Command::new(Binaries::build()?.path(name))
                .args(["--brokers", NOBODY, "--connect-timeout", "1s"])
                .args(given)
                .env("REDIS_URL", format!("redis://{NOBODY}"))
                .env("MODEL_PATH", model)
                .env("TIDEMILL_OUT", folder.path())
                .output()?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Ok((output.status.code(), said))
        };
        let (code, said) = run(&[])?;
        let warning = format!("{address} is taken (by another {name}?): admin pages at http://");
        assert!(code == Some(69) && said.contains(&warning), "{said}");
        let (code, said) = run(&["--admin-addr", &address])?;
        let refusal = format!("--admin-addr {address}: ");
        assert!(code == Some(64) && said.contains(&refusal), "{said}");
    }
    Ok(())
}

#[test]
fn the_scorer_starts_without_redis() -> Result<()> {
    let scene = Scene::new("without-redis", 4)?;
    let url = format!("redis://{NOBODY}");
    let mut scorer = scene.scorer("scorer", &["--redis-url", &url])?;
    scorer.wait_ready()?;
    assert!(scorer.terminate()?.success());
    Ok(())
}

#[test]
fn the_record_that_brings_an_awaited_topic_into_being_is_scored() -> Result<()> {
    let stack = Stack::shared()?;
    let names = Names::unique("awaited");
    let scene = Scene::at(stack.brokers(), stack.redis_url(), names)?;
    let scorer = scene.scorer("scorer", &["--start", "latest"])?;
    until("the scorer to wait for its topic", SOON, || {
        let waits = scorer.output().contains("waiting for the input topic");
        Ok(waits.then_some(()))
    })?;
    let transaction = r#"{"transaction_id":"t_1","amount":8,"hour_of_day":3,"is_international":1,"merchant_risk_score":0.9}"#;
    let topic = &scene.names.transactions;
    stack.create_topics(&[topic], 4)?;
    scene.send(topic, &[(Some("t_1"), Some(transaction))])?;
    until("its prediction", SOON, || {
        // The topic of predictions may not be there yet.
        let predictions = scene.read(&scene.names.predictions).unwrap_or_default();
        Ok((predictions.len() == 1).then_some(()))
    })
}

#[test]
fn workers_without_a_partition_are_ready_too() -> Result<()> {
    let scene = Scene::new("few-partitions", 1)?;
    let three = ["--workers", "3"];
    let mut all = [
        scene.featurizer("featurizer", &three)?,
        scene.scorer("scorer", &three)?,
        scene.collector("collector", &three)?,
    ];
    for program in &mut all {
        program.wait_ready()?;
        assert!(program.terminate()?.success());
    }
    Ok(())
}

#[test]
fn an_unreadable_model_is_named() -> Result<()> {
    let scene = Scene::new("no-model", 1)?;
    let absent = scene.folder().join("absent.onnx");
    let broken = scene.folder().join("broken.onnx");
    fs::write(&broken, "this is no model")?;
    for model in [absent, broken] {
        let model = model.to_str().unwrap();
        let label = if model.contains("absent") {
            "absent"
        } else {
            "broken"
        };
        let scorer = scene.scorer(label, &["--model", model])?;
        assert_ends(scorer, 64, &[model])?;
    }
    Ok(())
}
