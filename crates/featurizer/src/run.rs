//! Opens the workers' resources, starts the workers, and waits until they end.

use crate::engine::{Engine, Rules};
use crate::intake::Intake;
use crate::opening;
use crate::page;
use crate::report::Report;
use crate::setback::other_destination;
use crate::settings::{BINARY, Config};
use crate::store::{Keys, Lease, Redis};
use crate::warm_up::WarmUp;
use crate::worker::Worker;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tidemill_core::admin;
use tidemill_core::claim::{Held, Resolver};
use tidemill_core::clock::now_ms;
use tidemill_core::exit::Failure;
use tidemill_core::health::Health;
use tidemill_core::kafka::{
    Cluster, Consumer, DeadLetters, Producer, Surroundings, in_words, lag, pulse,
};
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
    let shared = &config.shared;
    let section = page::section(&config)?;
    admin::serve(&BINARY, shared, health.clone(), section, pages).await?;
    for doubt in config.definitions.doubts() {
        tracing::warn!("--features: {doubt}");
    }
    let start = health.part("start");
    start.unready(format!("waiting for Redis at {}", config.redis));
    if block_in_place(|| opening::claim_prefix(&config, &start, &shutdown))?.is_break() {
        return Ok(());
    }
    let cluster = Cluster::at_start(shared, &start, &shutdown).await?;
    let topic = cluster.wait_for(&shared.topic, &start, &shutdown).await?;
    let Some(partitions) = topic else {
        return Ok(());
    };
    start.unready("looking at the topic of dead letters and at the group");
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
    let letters_topic = vec![config.dead_letter_topic.clone()];
    Arc::new(cluster).keep(letters_topic, partitions, shutdown.clone());
    let outside = Consumer::outside(&shared.kafka, &shared.group, &shared.topic)?;
    if !config.takeover {
        let found = block_in_place(|| outside.elsewhere(&config.writes_to()));
        let found = found.map_err(|error| {
            Failure::unreachable(format!(
                "the brokers do not tell what members of --group {} write to: {}",
                shared.group,
                in_words(&error)
            ))
        })?;
        if let Some(elsewhere) = found {
            return Err(other_destination(&elsewhere));
        }
    }
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
    let surroundings = Surroundings::default();
    let writes_to = (!config.takeover).then(|| config.writes_to());
    surroundings.watch(outside, writes_to, shutdown.clone())?;
    let count = shared.workers;
    let staff = Staff {
        letters,
        resolver: Resolver::open(&shared.claims, &shutdown)?,
        health,
        warm_up: Arc::default(),
        surroundings,
        config,
    };
    let outcome = workers::run(count, &shutdown, move |number, shutdown| {
        staff.worker(number)?.run(&shutdown)
    })
    .await;
    tracing::info!("featurizer stopped");
    outcome
}

/// The resources that all workers of a process start with.
struct Staff {
    config: Config,
    letters: DeadLetters,
    resolver: Resolver,
    health: Arc<Health>,
    warm_up: Arc<WarmUp>,
    surroundings: Surroundings,
}

impl Staff {
    /// Opens worker `number`, which joins the group.
    fn worker(&self, number: usize) -> anyhow::Result<Worker> {
        let (config, shared) = (&self.config, &self.config.shared);
        let blocked = Held::new(&self.health, &format!("worker {number}"));
        let producer = Producer::open(&shared.kafka)?;
        let intake = Intake::new(
            self.resolver.clone(),
            blocked,
            self.letters.clone(),
            producer,
        );
        let rules = Rules {
            definitions: config.definitions.clone(),
            limits: config.limits,
        };
        let keys = Keys::new(&config.key_prefix, &shared.topic);
        let lease = Lease::new(Redis::new(&config.redis)?, keys, config.owner());
        let cache_bytes = config.cache_bytes / shared.workers;
        let limits = (cache_bytes, config.checkpoint_ms);
        let engine = Engine::new(rules, limits, lease, now_ms);
        let (warm_up, surroundings) = (self.warm_up.clone(), self.surroundings.clone());
        let report = Report::new(number, &self.health, warm_up, surroundings);
        let writes_to = config.writes_to();
        let consumer = Consumer::open(&shared.kafka, &shared.group, &shared.topic, &writes_to)?;
        let instance = RandomState::new().hash_one(number);
        Ok(Worker::new(consumer, intake, engine, report, instance))
    }
}
