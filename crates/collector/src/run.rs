//! A run of the collector: opens what it needs, starts the workers, waits for them.

use crate::dataset::store::Store;
use crate::features::{self, History};
use crate::frozen::{Freezer, Wanted};
use crate::lane::Sink;
use crate::memory::Share;
use crate::progress::Progress;
use crate::replay::Replay;
use crate::sample::{self, SAMPLE};
use crate::settings::{BINARY, Config, Extent, Features, Stretch};
use crate::stretch::{self, Range};
use crate::worker::Worker;
use std::sync::{Arc, Mutex};
use tidemill_core::admin;
use tidemill_core::claim::Resolver;
use tidemill_core::health::Health;
use tidemill_core::kafka::{Cluster, Consumer, lag, pulse};
use tidemill_core::workers;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// Collects until told to stop, or to the end of the stretch that is asked for. Needs the multi-threaded runtime.
///
/// Errors: what the configuration asks for cannot be had, brokers do not answer at the start, or a fault that a
/// restart has to heal. After the start, brokers and store may go away and come back.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let shared = &config.shared;
    for doubt in config
        .features
        .iter()
        .flat_map(|features| features.question.definitions.doubts())
    {
        tracing::warn!("--features: {doubt}");
    }
    let health = Health::starting();
    admin::serve(&BINARY, shared.admin, health.clone(), shutdown.clone()).await?;
    let start = health.part("start");
    start.unready(format!(
        "waiting for the brokers at {}",
        shared.kafka.brokers()
    ));
    let cluster = Cluster::connect(&shared.kafka, shared.connect_timeout, &shutdown).await?;
    start.unready(format!("waiting for topic {}", shared.topic));
    let Some(partitions) = cluster.wait_for(&shared.topic, &shutdown).await? else {
        return Ok(());
    };
    drop(cluster);
    start.unready("opening the data set");
    let sink = open_sink(&config, health.clone()).await?;
    pulse::watch(shared, &health, shutdown.clone())?;
    start.ready();
    tracing::info!(topic = shared.topic, out = %sink.store, workers = shared.workers, "collecting");
    match config.extent {
        Extent::Live { max_age } => {
            let stop = shutdown.clone();
            lag::watch(shared, shutdown.clone())?;
            workers::run(shared.workers, &stop, move |number, shutdown| {
                Worker::open(number, &config, &sink, max_age)?.run(&shutdown)
            })
            .await
        }
        Extent::Stretch(stretch) => run_stretch(config, sink, stretch, partitions, &shutdown).await,
    }
}

async fn open_sink(config: &Config, health: Arc<Health>) -> anyhow::Result<Sink> {
    let store = Store::open(&config.out, true)?;
    store.sweep_staging()?;
    let wanted = Wanted {
        schema: config.schema.clone(),
        headers: config.headers,
        features: config.features.as_ref().map(Features::columns),
    };
    let freezer = Freezer::open(store.clone(), wanted).await?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let store_part = health.part("store");
    store_part.ready();
    Ok(Sink {
        topic: config.shared.topic.as_str().into(),
        store,
        // The last files are made after the end is asked for.
        resolver: Resolver::open(&config.shared.claims, &CancellationToken::new())?,
        freezer: Arc::new(freezer),
        codec: config.codec,
        history: None,
        encoders: Arc::new(Semaphore::new(cores)),
        health,
        store_part,
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
    let shared = &config.shared;
    let partitions: Vec<i32> = (0..).take(partitions).collect();
    let whole = block_in_place(|| {
        let consumer = Consumer::outside(&shared.kafka, &shared.group, &shared.topic)?;
        stretch::log_ranges(&consumer, &partitions, stretch)
    })?;
    if sink.freezer.get().is_none() {
        let first = |sample: &crate::schema::Sample| sample.records() > 0;
        let sample = block_in_place(|| {
            sample::read(shared, &sink.resolver, &whole, SAMPLE, first, shutdown)
        })?;
        if shutdown.is_cancelled() {
            return Ok(());
        }
        sink.freezer.freeze(&sample).await?;
    }
    if let Some(features) = &config.features {
        let history = load_history(&config, &sink.resolver, features, stretch, shutdown).await?;
        let Some(history) = history else {
            return Ok(());
        };
        sink.history = Some(Arc::new(history));
    }
    let mut left = stretch::left(&sink, whole, stretch).await?;
    left.retain(|range| range.len() > 0);
    let total = left.iter().map(Range::len).sum();
    tracing::info!(partitions = left.len(), offsets = total, "bounded run");
    let progress = Arc::new(Progress::new(total));
    let count = shared.workers.min(left.len());
    if count > 0 {
        let shares = Arc::new(Mutex::new(deal(left, count)));
        let memory = Share::of(config.memory, count);
        let shown = progress.clone();
        workers::run(count, shutdown, move |number, shutdown| {
            let share = shares
                .lock()
                .map(|mut shares| std::mem::take(&mut shares[number]));
            let share = share.unwrap_or_default();
            Replay::open(number, &config, &sink, share, memory)?.run(&shown, &shutdown)
        })
        .await?;
    }
    if !shutdown.is_cancelled() {
        progress.finish();
    }
    Ok(())
}

async fn load_history(
    config: &Config,
    resolver: &Resolver,
    features: &Features,
    stretch: Stretch,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<History>> {
    let shared = &config.shared;
    let topic = &features.events_topic;
    let cluster = Cluster::connect(&shared.kafka, shared.connect_timeout, shutdown).await?;
    let Some(partitions) = cluster.wait_for(topic, shutdown).await? else {
        return Ok(None);
    };
    let partitions: Vec<i32> = (0..).take(partitions).collect();
    block_in_place(|| {
        features::load(
            shared,
            resolver,
            topic,
            &partitions,
            &features.question,
            stretch.to,
            shutdown,
        )
    })
}

/// Shares ranges out, the longest first, each to the worker that has the least so far.
fn deal(mut ranges: Vec<Range>, workers: usize) -> Vec<Vec<Range>> {
    ranges.sort_by_key(|range| std::cmp::Reverse(range.len()));
    let mut shares = vec![Vec::new(); workers];
    for range in ranges {
        let load = |share: &&mut Vec<Range>| share.iter().map(Range::len).sum::<u64>();
        if let Some(least) = shares.iter_mut().min_by_key(load) {
            least.push(range);
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_and_complete() {
        let ranges: Vec<Range> = [10, 70, 20, 50, 40]
            .into_iter()
            .zip(0..)
            .map(|(end, partition)| Range {
                partition,
                first: 0,
                end,
                gap: None,
            })
            .collect();
        let shares = deal(ranges, 2);
        let loads: Vec<u64> = shares
            .iter()
            .map(|share| share.iter().map(Range::len).sum())
            .collect();
        assert_eq!(loads, [100, 90]);
        assert_eq!(shares.iter().map(Vec::len).sum::<usize>(), 5);
    }
}
