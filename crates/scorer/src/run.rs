//! The scorer from its configuration to its end: opens what it needs, starts the workers, waits.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tidemill_core::admin;
use tidemill_core::claim::Resolver;
use tidemill_core::exit::Failure;
use tidemill_core::health::{Health, Part};
use tidemill_core::kafka::{Cluster, Consumer, DeadLetters, Surroundings, in_words, lag, pulse};
use tidemill_core::workers;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use crate::commands::replay;
use crate::commands::reset::{Answer, reset};
use crate::features;
use crate::model::Loaded;
use crate::output::neighbours;
use crate::page::{self, Seen};
use crate::settings::{BINARY, Config, Reset, Start};
use crate::shared::Shared;
use crate::swap::{self, Models};
use crate::worker;

/// Scores until `shutdown` is cancelled.
///
/// # Errors
///
/// The obstacle to its start, with an exit code, and faults that end it.
pub async fn run(mut config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let model = load(&config).await?;
    let inputs = model.manifest.inputs.len();
    tracing::info!(
        model = model.sha256,
        inputs,
        threshold = model.manifest.threshold,
        "model loaded"
    );
    let health = Health::starting();
    let models = Arc::new(Models::new(model));
    let seen = Arc::new(Seen::default());
    admin::serve(
        &BINARY,
        &config.shared,
        health.clone(),
        page::section(models.clone(), seen.clone()),
        shutdown.clone(),
    )
    .await?;
    models.announce();
    let start = health.part("start");
    let Some((cluster, partitions, dead_letters)) = topics(&mut config, &start, &shutdown).await?
    else {
        return Ok(());
    };
    if let Some(how) = config.reset
        && block_in_place(|| reset(&config, &cluster, partitions, how))? == Answer::No
    {
        return Ok(());
    }
    let cluster = Arc::new(cluster);
    neighbours::warn(&config, cluster.clone());
    let outputs = [&config.output_topic, &config.dead_letter_topic].map(String::clone);
    cluster.keep(outputs.into(), partitions, shutdown.clone());
    let outside = Consumer::outside(
        &config.shared.kafka,
        &config.shared.group,
        &config.shared.topic,
    )?;
    let writes_to = config.writes_to();
    // While a transaction of a killed member is open, brokers withhold its positions for seconds: then the watch finds out.
    let elsewhere = block_in_place(|| outside.elsewhere(&writes_to));
    if let Ok(Some(elsewhere)) = elsewhere {
        return Err(other_destination(&elsewhere));
    }
    let topic = block_in_place(|| outside.topic_id());
    let topic = topic.map_err(|error| Failure::unreachable(in_words(&error)))?;
    let surroundings = Surroundings::default();
    surroundings.watch(outside, Some(writes_to), shutdown.clone())?;
    tokio::spawn(swap::watch(
        models.clone(),
        config.model.clone(),
        shutdown.clone(),
    ));
    let workers = config.shared.workers;
    for number in 0..workers {
        health.part(format!("worker {number}"));
    }
    pulse::watch(&config.shared, &health, shutdown.clone())?;
    features::pulse::watch(&config, models.clone(), &health, shutdown.clone())?;
    start.ready();
    lag::watch(&config.shared, shutdown.clone())?;
    tracing::info!(
        topic = config.shared.topic,
        group = config.shared.group,
        guarantee = %config.guarantee,
        workers,
        "scoring"
    );
    let shared = Shared {
        resolver: Resolver::open(&config.shared.claims, &shutdown)?,
        config,
        models,
        topic,
        partitions,
        dead_letters,
        surroundings,
        health,
        seen,
        runtime: Handle::current(),
    };
    workers::run(workers, &shutdown, move |number, shutdown| {
        worker::run(number, &shared, shutdown)
    })
    .await?;
    tracing::info!("stopped");
    Ok(())
}

/// Shows from where to where `--reset` would move the group.
///
/// # Errors
///
/// There is no such topic, the group has members, or the brokers do not answer.
pub(crate) async fn would_reset(
    config: &Config,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let shared = &config.shared;
    let cluster = Cluster::connect(&shared.kafka, shared.connect_timeout, shutdown).await?;
    let topic = &shared.topic;
    let partitions = cluster.partitions(topic)?;
    let partitions = partitions
        .ok_or_else(|| Failure::usage(format!("--topic {topic}: there is no such topic")))?;
    block_in_place(|| reset(config, &cluster, partitions, Reset::DryRun)).map(drop)
}

/// Loads the configured model.
///
/// # Errors
///
/// It cannot be used: wrong usage.
pub(crate) async fn load(config: &Config) -> anyhow::Result<Loaded> {
    let path = config.model.clone();
    let loaded = tokio::task::spawn_blocking(move || crate::model::load(&path)).await?;
    loaded.map_err(|error| {
        Failure::usage(format!(
            "--model cannot be used: {error:#}; `scorer check` tells more"
        ))
    })
}

/// The error where a member of the group writes elsewhere: our output topic lacks the partitions that it reads.
pub(crate) fn other_destination(elsewhere: &str) -> anyhow::Error {
    Failure::usage(format!(
        "a member of --group writes to another place ({elsewhere}), and each would get only a part of the predictions: \
         use another --group, or --reset if that member is gone for good"
    ))
}

/// Compares the predictions between two times (epoch ms) with the configured model.
///
/// # Errors
///
/// The model cannot be used, or the brokers do not answer.
pub async fn replay(
    config: Config,
    stretch: (i64, Option<i64>),
    json: bool,
    shutdown: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let model = load(&config).await?;
    let shared = &config.shared;
    let cluster = Cluster::connect(&shared.kafka, shared.connect_timeout, &shutdown).await?;
    let topic = &config.output_topic;
    let partitions = cluster.partitions(topic)?;
    let partitions = partitions
        .ok_or_else(|| Failure::usage(format!("--output-topic {topic}: there is no such topic")))?;
    block_in_place(|| replay::replay(&config, &model, stretch, json, partitions, &shutdown))
}

/// Waits for the input topic and creates missing output topics; `None` if stopped meanwhile.
async fn topics(
    config: &mut Config,
    start: &Part,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<(Cluster, usize, DeadLetters)>> {
    let shared = &config.shared;
    let cluster = Cluster::at_start(shared, start, shutdown).await?;
    let awaited = matches!(cluster.partitions(&shared.topic), Ok(None));
    let topic = cluster.wait_for(&shared.topic, start, shutdown).await?;
    let Some(partitions) = topic else {
        return Ok(None);
    };
    start.unready("looking at the output topics and at the group");
    for topic in [&config.output_topic, &config.dead_letter_topic] {
        cluster.ensure(topic, partitions).await?;
    }
    let max_bytes = cluster
        .max_message_bytes(&config.dead_letter_topic)
        .await
        .context("asking how large a dead letter may be")?;
    let dead_letters = DeadLetters {
        topic: config.dead_letter_topic.clone(),
        source: shared.topic.clone(),
        group: shared.group.clone(),
        binary: BINARY.name,
        version: BINARY.version,
        max_bytes,
    };
    // All records of a topic that was waited for are newer than this start: `latest` must not skip any of them.
    if awaited && config.start == Start::Latest {
        config.start = Start::Earliest;
        tracing::info!("reading from the start: the topic is newer than this process");
    }
    Ok(Some((cluster, partitions, dead_letters)))
}
