//! Prints the schema that takes all records of a stretch, to be given to a run that regenerates the data set.

use crate::bounded::sample;
use crate::bounded::stretch;
use crate::settings::{Config, Extent, Stretch};
use anyhow::ensure;
use tidemill_core::claim::Resolver;
use tidemill_core::kafka::{Cluster, Consumer};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// The schema as the text of a file; `None` when told to stop before the end. Needs the multi-threaded runtime.
pub async fn infer(
    config: &Config,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<String>> {
    let shared = &config.shared;
    let stretch = match config.extent {
        Extent::Stretch(stretch) => stretch,
        Extent::Live { .. } => Stretch::default(),
    };
    let cluster = Cluster::connect(&shared.kafka, shared.connect_timeout, shutdown).await?;
    let partitions = cluster.partitions(&shared.topic)?;
    ensure!(
        partitions.is_some(),
        "there is no topic {}: check --topic",
        shared.topic
    );
    let partitions: Vec<i32> = (0..).take(partitions.unwrap_or(0)).collect();
    let resolver = Resolver::open(&shared.claims, shutdown)?;
    let sample = block_in_place(|| {
        let consumer = Consumer::outside(&shared.kafka, &shared.group, &shared.topic)?;
        let ranges = stretch::log_ranges(&consumer, &partitions, stretch)?;
        sample::read(shared, &resolver, &ranges, u64::MAX, |_| false, shutdown)
    })?;
    if shutdown.is_cancelled() {
        // A schema of a part would look like one of the whole.
        return Ok(None);
    }
    ensure!(
        sample.records() > 0,
        "{} has no JSON object in this stretch",
        shared.topic
    );
    let schema = sample.schema(config.headers).to_json()?;
    Ok(Some(String::from_utf8(schema)?))
}
