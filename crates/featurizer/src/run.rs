//! Opens what the workers need, starts them, and waits for their end.

use crate::opening;
use crate::settings::{BINARY, Config};
use crate::warm_up::WarmUp;
use crate::worker::Worker;
use std::sync::Arc;
use tidemill_core::admin;
use tidemill_core::claim::Resolver;
use tidemill_core::health::Health;
use tidemill_core::kafka::{Cluster, DeadLetters, lag, pulse};
use tidemill_core::workers;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// Runs the featurizer until `shutdown` is cancelled.
///
/// Errors carry the exit code: 64 for a configuration that cannot be used, 69 where brokers or Redis do not
/// answer within the connect timeout, 70 for anything fatal later.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let health = Health::starting();
    let pages = shutdown.child_token();
    admin::serve(&BINARY, config.shared.admin, health.clone(), pages).await?;
    let shared = &config.shared;
    for doubt in config.definitions.doubts() {
        tracing::warn!("--features: {doubt}");
    }
    let start = health.part("start");
    start.unready(format!("waiting for Redis at {}", config.redis));
    if !block_in_place(|| opening::claim_prefix(&config, &shutdown))? {
        return Ok(());
    }
    start.unready(format!(
        "waiting for the brokers at {}",
        shared.kafka.brokers()
    ));
    let cluster = Cluster::connect(&shared.kafka, shared.connect_timeout, &shutdown).await?;
    start.unready(format!("waiting for topic {}", shared.topic));
    let Some(partitions) = cluster.wait_for(&shared.topic, &shutdown).await? else {
        return Ok(());
    };
    cluster
        .ensure(&config.dead_letter_topic, partitions)
        .await?;
    let letters = DeadLetters {
        topic: config.dead_letter_topic.clone(),
        source: shared.topic.clone(),
        group: shared.group.clone(),
        binary: BINARY.name,
        version: BINARY.version,
        max_bytes: cluster.max_message_bytes(&config.dead_letter_topic).await?,
    };
    drop(cluster);
    for worker in 0..shared.workers {
        let part = health.part(format!("worker {worker}"));
        part.unready("joining the group");
    }
    opening::watch(&config, &health, shutdown.clone())?;
    pulse::watch(shared, &health, shutdown.clone())?;
    start.ready();
    lag::watch(shared, shutdown.clone())?;
    tracing::info!(
        topic = shared.topic,
        partitions,
        group = shared.group,
        workers = shared.workers,
        features = config.definitions.features().len(),
        key_prefix = config.key_prefix,
        "featurizer started"
    );
    let resolver = Resolver::open(&shared.claims, &shutdown)?;
    let config = Arc::new(config);
    let warm_up = Arc::new(WarmUp::default());
    let count = config.shared.workers;
    let outcome = workers::run(count, &shutdown, move |number, shutdown| {
        Worker::open(number, &config, &letters, &resolver, &health, &warm_up)?.run(&shutdown)
    })
    .await;
    tracing::info!("featurizer stopped");
    outcome
}
