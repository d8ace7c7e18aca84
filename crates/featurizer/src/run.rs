//! Opens what the workers need, starts them, and waits for their end.

use crate::settings::{BINARY, Config};
use crate::store::{Keys, Ownership, Redis, own};
use crate::warm_up::WarmUp;
use crate::worker::Worker;
use std::sync::Arc;
use tidemill_core::admin::{self, Health};
use tidemill_core::claim::Resolver;
use tidemill_core::exit::Failure;
use tidemill_core::kafka::{Cluster, DeadLetters, lag};
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
    block_in_place(|| check_store(&config, &shutdown))?;
    let cluster = Cluster::connect(&shared.kafka, shared.connect_timeout, &shutdown).await?;
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
        health.unready(format!("worker {worker}"), "joining the group");
    }
    health.ready("start");
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

/// Waits for Redis, and makes sure that the key prefix is ours.
fn check_store(config: &Config, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let mut redis = Redis::new(&config.redis)?;
    let timeout = config.shared.connect_timeout;
    let stopped = || shutdown.is_cancelled();
    redis.connect_within(timeout, stopped).map_err(|error| {
        let (error, address) = (error.0, &config.redis);
        let hint = address.hint(&error);
        Failure::unreachable(format!(
            "no Redis at {address} answered within {timeout:?}: {error}; {hint}"
        ))
    })?;
    let keys = Keys::new(&config.key_prefix, &config.shared.topic);
    match own(&mut redis, &keys, &config.owner(), config.takeover)? {
        Ownership::Ours => Ok(()),
        Ownership::Taken { from } => {
            tracing::warn!(from, "took the key prefix over");
            Ok(())
        }
        Ownership::Foreign(owner) => Err(foreign(config, &owner)),
    }
}

/// The prefix belongs to somebody else.
pub(crate) fn foreign(config: &Config, owner: &str) -> anyhow::Error {
    Failure::usage(format!(
        "--key-prefix {:?} belongs to {owner}, and this is {}: use another --key-prefix, or --takeover to take \
         this one over",
        config.key_prefix,
        config.owner()
    ))
}
