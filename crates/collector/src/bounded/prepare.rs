//! Prepares a bounded run: what has to be known before its first record.

use super::behind;
use super::held_back::readable_ranges;
use super::sample::{self, SAMPLE};
use super::stretch::{self, Range};
use crate::dataset::end::End;
use crate::dataset::resume;
use crate::encode::schema::Sample;
use crate::features::{self, History};
use crate::pipeline::Sink;
use crate::pipeline::retry::{Outages, unreachable};
use crate::settings::{Config, Features, Stretch};
use anyhow::ensure;
use std::collections::BTreeMap;
use tidemill_core::exit::Failure;
use tidemill_core::kafka::Cluster;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// The number of a topic's partitions.
///
/// Errors: there is no such topic, which a bounded run does not wait for, or the brokers do not answer.
pub(crate) fn partitions(cluster: &Cluster, topic: &str) -> anyhow::Result<usize> {
    let found = cluster.partitions(topic).map_err(unreachable)?;
    found.ok_or_else(|| {
        Failure::usage(format!(
            "there is no topic {topic}, and a bounded run does not wait for one: check --topic and --events-topic"
        ))
    })
}

/// The ranges of a bounded run.
pub(crate) struct Prepared {
    /// The stretch in each partition of the topic.
    pub(crate) stretch: Vec<Range>,
    /// The parts of it that are to be collected.
    pub(crate) left: Vec<Range>,
}

/// Prepares a bounded run: the schema, the users' events, and the ranges, which it returns. `None` if stopped
/// before. Servers that are away are waited for.
pub(crate) async fn prepare(
    config: &Config,
    sink: &mut Sink,
    stretch: Stretch,
    partitions: usize,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<Prepared>> {
    let shared = &config.shared;
    let partitions: Vec<i32> = (0..).take(partitions).collect();
    let start = Outages::of(sink.health.part("start"));
    let topic = &shared.topic;
    let whole = readable_ranges(shared, topic, &partitions, stretch, &start, shutdown);
    let Some(whole) = whole.await? else {
        return Ok(None);
    };
    let look = || async { block_in_place(|| behind::warn(shared, &whole, stretch, shutdown)) };
    let what = "looking behind the stretch";
    if start.retry_until(shutdown, what, look).await?.is_none() {
        return Ok(None);
    }
    if sink.data_set.frozen().is_none() {
        let first = |sample: &Sample| sample.records() > 0;
        let read = || async {
            block_in_place(|| {
                sample::read(
                    shared,
                    sink.encoding.resolver(),
                    &whole,
                    SAMPLE,
                    first,
                    shutdown,
                )
            })
        };
        let what = "reading records for the schema";
        let read = start.retry_until(shutdown, what, read).await?;
        let Some(sample::Read { sample, records }) = read.filter(|_| !shutdown.is_cancelled())
        else {
            return Ok(None);
        };
        if records == 0 {
            // Nothing is frozen from nothing.
            stretch::tell_without_records(&whole);
            return Ok(Some(Prepared {
                stretch: whole,
                left: Vec::new(),
            }));
        }
        let unusable = || {
            Failure::usage(format!(
                "no record of {} in this stretch is a JSON object, so that there is nothing to infer a schema from: give \
                 --schema",
                shared.topic
            ))
        };
        ensure!(sample.records() > 0, unusable());
        let freeze = || sink.data_set.freezer().freeze(&sample);
        let what = "freezing the schema";
        if start.retry_until(shutdown, what, freeze).await?.is_none() {
            return Ok(None);
        }
    }
    if let Some(features) = &config.features {
        let Some(history) = load_history(config, sink, features, stretch, shutdown).await? else {
            return Ok(None);
        };
        sink.encoding.use_history(history);
    }
    let look_up = || stretch::left(sink, &whole, stretch);
    let what = "looking up what is collected";
    let left = start.retry_until(shutdown, what, look_up).await?;
    Ok(left.map(|left| Prepared {
        stretch: whole,
        left,
    }))
}

/// Says in the data set how far it goes, now that all files of the run are there; `None` if stopped before.
pub(crate) async fn end(
    sink: &Sink,
    stretch: &[Range],
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<()>> {
    let Some(frozen) = sink.data_set.frozen() else {
        return Ok(Some(()));
    };
    let partitions: Vec<i32> = stretch.iter().map(|range| range.partition).collect();
    let say = || async {
        let found = resume::positions(&sink.data_set, &partitions).await?;
        let mut positions = BTreeMap::new();
        for ((partition, position), range) in found.into_iter().zip(stretch) {
            let position = match position {
                Some(position) => position.next.into(),
                // Else verify would miss its files, and a later run collect what lies before --from.
                None => sink.data_set.begin(partition, range.begin, true).await?,
            };
            positions.insert(partition, position);
        }
        let end = End {
            topic: sink.data_set.topic().name.to_string(),
            positions,
            schema: frozen.fingerprint.clone(),
        };
        end.publish(sink.data_set.store(), &frozen).await
    };
    let what = "ending the data set";
    sink.outages.retry_until(shutdown, what, say).await
}

/// The users' events of before the end of the stretch; `None` if stopped before.
async fn load_history(
    config: &Config,
    sink: &Sink,
    features: &Features,
    stretch: Stretch,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<History>> {
    let shared = &config.shared;
    let topic = &features.events_topic;
    let cluster = Cluster::connect(&shared.kafka, shared.connect_timeout, shutdown).await?;
    let partitions: Vec<i32> = (0..).take(partitions(&cluster, topic)?).collect();
    let start = Outages::of(sink.health.part("start"));
    // To the end of the log: Kafka times need not ascend, and records of before --to may lie behind later ones.
    let all = Stretch::default();
    let ranges = readable_ranges(shared, topic, &partitions, all, &start, shutdown);
    let Some(ranges) = ranges.await? else {
        return Ok(None);
    };
    let load = || async {
        block_in_place(|| {
            features::load(
                shared,
                sink.encoding.resolver(),
                topic,
                &ranges,
                &features.question,
                stretch.to,
                shutdown,
            )
        })
    };
    let loaded = start.retry_until(shutdown, "reading the users' events", load);
    Ok(loaded.await?.flatten())
}
