//! Prints the schema that takes all records of a stretch, to be given to a run that regenerates the data set.

use crate::bounded::held_back::readable_ranges;
use crate::bounded::sample;
use crate::pipeline::retry::Outages;
use crate::settings::{Config, Extent, Stretch};
use anyhow::ensure;
use tidemill_core::claim::Resolver;
use tidemill_core::exit::Failure;
use tidemill_core::health::Health;
use tidemill_core::kafka::Cluster;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// The schema as the text of a file; `None` if stopped before the end. Needs the multi-threaded runtime.
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
    let missing = || Failure::usage(format!("there is no topic {}: check --topic", shared.topic));
    ensure!(partitions.is_some(), missing());
    let partitions: Vec<i32> = (0..).take(partitions.unwrap_or(0)).collect();
    let resolver = Resolver::open(&shared.claims, shutdown)?;
    let outages = Outages::of(Health::starting().part("start"));
    let ranges = readable_ranges(
        shared,
        &shared.topic,
        &partitions,
        stretch,
        &outages,
        shutdown,
    );
    let Some(ranges) = ranges.await? else {
        return Ok(None);
    };
    let read = || sample::read(shared, &resolver, &ranges, u64::MAX, |_| false, shutdown);
    let sample::Read { sample, records } = block_in_place(read)?;
    if shutdown.is_cancelled() {
        // A schema of a part would look like one of the whole.
        return Ok(None);
    }
    let nothing = || {
        let topic = &shared.topic;
        let found = match records {
            0 => "no record in this stretch".to_owned(),
            records => format!("no JSON object among the {records} records of this stretch"),
        };
        Failure::usage(format!(
            "{topic} has {found}: check --topic, --from and --to"
        ))
    };
    ensure!(sample.records() > 0, nothing());
    let schema = sample.schema(config.headers).to_json()?;
    Ok(Some(String::from_utf8(schema)?))
}
