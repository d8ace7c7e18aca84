//! A run of the collector: opens what it needs, starts the workers, waits for them.

use crate::bounded::ends::Ends;
use crate::bounded::prepare::Prepared;
use crate::bounded::progress::Progress;
use crate::bounded::stretch::Range;
use crate::bounded::{prepare, shares};
use crate::dataset::gaps;
use crate::dataset::open::{Begins, DataSet};
use crate::dataset::store::{Location, Store};
use crate::dataset::topic::Topic;
use crate::encode::frozen::{Freezer, Wanted};
use crate::page::{self, Journal};
use crate::pipeline::Sink;
use crate::pipeline::encoders::Encoders;
use crate::pipeline::encoding::Encoding;
use crate::pipeline::premises::{self, Premises};
use crate::pipeline::retry::{Kind, Outages, kind, unreachable};
use crate::settings::{BINARY, Config, Extent, Features, Stretch};
use crate::worker::Worker;
use crate::worker::goal::Goal;
use crate::worker::intake::Intake;
use std::sync::Arc;
use tidemill_core::admin;
use tidemill_core::claim::Resolver;
use tidemill_core::exit::Failure;
use tidemill_core::health::Health;
use tidemill_core::kafka::{Cluster, Consumer, KafkaConfig, in_words, is_client_error, lag, pulse};
use tidemill_core::workers;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// Collects until stopped, or to the end of the stretch that is asked for. Needs the multi-threaded runtime.
///
/// Errors: what the configuration asks for cannot be had, brokers or store do not answer at the start, or a fault that a
/// restart has to heal. After the start, brokers and store may go away and come back.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let shared = &config.shared;
    let store = open_store(&config.out).await?;
    for doubt in config
        .features
        .iter()
        .flat_map(|features| features.question.definitions.doubts())
    {
        tracing::warn!("--features: {doubt}");
    }
    let health = Health::starting();
    let journal = Arc::new(Journal::default());
    let section = page::section(journal.clone(), config.out.to_string());
    admin::serve(&BINARY, shared, health.clone(), section, shutdown.clone()).await?;
    let start = health.part("start");
    let cluster = Cluster::at_start(shared, &start, &shutdown).await?;
    let partitions = match config.extent {
        Extent::Live { .. } => cluster.wait_for(&shared.topic, &start, &shutdown).await?,
        Extent::Stretch(_) => Some(prepare::partitions(&cluster, &shared.topic)?),
    };
    let Some(partitions) = partitions else {
        return Ok(());
    };
    start.unready("opening the data set");
    let topic = Topic {
        name: shared.topic.as_str().into(),
        id: cluster.topic_id(&shared.topic).map_err(unreachable)?,
    };
    let told = (health.clone(), journal);
    let sink = open_sink(&config, store, topic, partitions, told).await;
    let sink = sink.map_err(|error| unusable(&config.out, error))?;
    let looking = tokio::spawn(gaps::warn(sink.data_set.clone(), partitions));
    pulse::watch(shared, &health, shutdown.clone())?;
    watch_premises(&config, &cluster, &sink)?;
    drop(cluster);
    start.ready();
    tracing::info!(topic = shared.topic, out = %sink.data_set.store(), workers = shared.workers, "collecting");
    match config.extent {
        Extent::Live { max_age } => {
            lag::watch(shared, shutdown.clone())?;
            let (count, shared, writes_to) = (shared.workers, shared.clone(), config.writes_to());
            let open = move |_, kafka: &KafkaConfig| {
                let consumer = Consumer::open(kafka, &shared.group, &shared.topic, &writes_to)?;
                Ok((consumer, Goal::Live { max_age }))
            };
            start_workers(count, config, sink, &shutdown, open).await
        }
        Extent::Stretch(stretch) => {
            run_stretch(config, sink, stretch, partitions, &shutdown).await?;
            if !shutdown.is_cancelled() {
                looking.await?;
            }
            Ok(())
        }
    }
}

/// Opens the place of the data set, before anything is waited for.
///
/// Errors: files cannot be written there.
async fn open_store(out: &Location) -> anyhow::Result<Store> {
    let open = async {
        let store = Store::open(out, true)?;
        store.prove_writable().await?;
        store.sweep_staging()?;
        Ok(store)
    };
    open.await.map_err(|error| unusable(out, error))
}

/// An error with its exit code before anything is collected: a folder that cannot be used then is none that will be
/// later.
pub fn unusable(out: &Location, error: anyhow::Error) -> anyhow::Error {
    match out {
        Location::Folder(_) if kind(&error) == Kind::Retry && !is_client_error(&error) => {
            Failure::usage(format!("{out} cannot be used: {}", in_words(&error)))
        }
        _ => unreachable(error),
    }
}

/// Watches the topic, and in a live run the group, once nobody else in that collects into another data set.
fn watch_premises(config: &Config, cluster: &Cluster, sink: &Sink) -> anyhow::Result<()> {
    let shared = &config.shared;
    let outside = Consumer::outside(&shared.kafka, &shared.group, &shared.topic)?;
    let live = matches!(config.extent, Extent::Live { .. });
    let writes_to = live.then(|| config.writes_to());
    if let Some(own) = &writes_to {
        let entered = block_in_place(|| premises::enter(cluster, &outside, shared, own));
        entered.map_err(unreachable)?;
    }
    Ok(sink
        .premises
        .watch(outside, sink.data_set.topic().id, writes_to)?)
}

async fn open_sink(
    config: &Config,
    store: Store,
    topic: Topic,
    partitions: usize,
    (health, journal): (Arc<Health>, Arc<Journal>),
) -> anyhow::Result<Sink> {
    let wanted = Wanted {
        topic: config.shared.topic.clone(),
        schema: config.schema.clone(),
        headers: config.headers,
        features: config.features.as_ref().map(Features::columns),
        enough: config.enough,
    };
    let freezer = Freezer::open(store.clone(), wanted).await?;
    let stretch = match config.extent {
        Extent::Live { .. } => None,
        Extent::Stretch(stretch) => Some(stretch),
    };
    let begins = Begins {
        partitions: stretch.and(i32::try_from(partitions).ok()),
        from: stretch.and_then(|stretch| stretch.from),
    };
    // The last files are made after the end is asked for.
    let resolver = Resolver::open(&config.shared.claims, &CancellationToken::new())?;
    let encoders = Encoders::start(config.budget(config.shared.workers).encoders)?;
    let store_part = health.part("store");
    store_part.ready();
    Ok(Sink {
        data_set: DataSet::new(topic, store, freezer, begins),
        encoding: Encoding::new(resolver, config.codec, encoders),
        premises: Premises::default(),
        health,
        journal,
        outages: Outages::of(store_part),
        runtime: Handle::current(),
    })
}

async fn run_stretch(
    config: Config,
    mut sink: Sink,
    stretch: Stretch,
    partitions: usize,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let prepared = prepare::prepare(&config, &mut sink, stretch, partitions, shutdown).await?;
    let Some(Prepared { stretch, left }) = prepared else {
        return Ok(());
    };
    let ended = sink.clone();
    let total = left.iter().map(Range::len).sum();
    tracing::info!(partitions = left.len(), offsets = total, "bounded run");
    let progress = Arc::new(Progress::new(total));
    let count = config.shared.workers.min(left.len());
    if count > 0 {
        let encoders = Encoders::start(config.budget(count).encoders)?;
        sink.encoding.use_encoders(encoders);
        let shares = shares::deal(left, count);
        let (shared, shown) = (config.shared.clone(), progress.clone());
        let open = move |number: usize, kafka: &KafkaConfig| {
            let consumer = Consumer::outside(kafka, &shared.group, &shared.topic)?;
            let (ends, progress) = (Ends::of(shares[number].clone()), shown.clone());
            Ok((consumer, Goal::Bounded { ends, progress }))
        };
        start_workers(count, config, sink, shutdown, open).await?;
    }
    if !shutdown.is_cancelled() && prepare::end(&ended, &stretch, shutdown).await?.is_some() {
        progress.finish();
    }
    Ok(())
}

/// Runs so many workers to their end; `open` gives each, by its number, its consumer and its goal.
async fn start_workers(
    count: usize,
    config: Config,
    sink: Sink,
    shutdown: &CancellationToken,
    open: impl Fn(usize, &KafkaConfig) -> anyhow::Result<(Consumer, Goal)> + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let budget = config.budget(count);
    workers::run(count, shutdown, move |number, shutdown| {
        let kafka = config.shared.kafka.with_prefetch(budget.fetch);
        let (consumer, goal) = open(number, &kafka)?;
        let intake = Intake::new(number, sink.clone(), config.rows, budget.buffered);
        Worker::new(number, consumer, goal, intake, &sink).run(&shutdown)
    })
    .await
}
