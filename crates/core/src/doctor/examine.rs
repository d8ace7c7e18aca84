//! Queries brokers, topics, records and group, within bounded time, and has the answers judged.

use super::Report;
use super::admin;
use super::brokers::connect;
use super::group::Group;
use super::sample::{Sample, Seen};
use super::sizes::{self, Sizes};
use super::topics;
use crate::clock::now_ms;
use crate::kafka::lag::{Lag, LagReader};
use crate::kafka::{Cluster, Consumer, Polled, Record, in_words};
use crate::settings::Shared;
use anyhow::Context;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// Time limit for the sample to arrive.
const SAMPLE: Duration = Duration::from_secs(5);

/// Records sampled, over all partitions: the newest of each.
const RECORDS: usize = 2_000;

/// Pause between the two measurements of the lag.
const BETWEEN: Duration = Duration::from_secs(3);

/// The subject of an examination.
#[derive(Clone, Copy, Debug)]
pub struct Patient<'a> {
    /// The configuration that all binaries share.
    pub shared: &'a Shared,
    /// Topic for records that cannot be used, if there is one.
    pub dead_letters: Option<&'a str>,
    /// Topic that the binary writes to, if there is one.
    pub output: Option<&'a str>,
    /// Length of the longest window.
    pub window: Option<Duration>,
    /// True if all records of a user must be in one partition.
    pub by_user: bool,
    /// True if a group without positions starts at the end.
    pub starts_late: bool,
    /// Time that records may wait for their commit in normal operation.
    pub patience: Duration,
    /// Remedy if the topic was re-created.
    pub recreated: &'a str,
    /// Instruction for making the group read old records again.
    pub again: &'a str,
}

/// Examines everything that concerns Kafka, claims, and the admin address; `see` judges a record as the binary would. Returns the lags of
/// the topic's partitions; empty if the topic was not reached.
pub async fn examine(
    patient: &Patient<'_>,
    see: impl FnMut(&Record<'_>) -> Seen,
    shutdown: &CancellationToken,
    report: &mut Report,
) -> Vec<Lag> {
    let shared = patient.shared;
    let (mut sample, mut lags) = (Sample::default(), Vec::new());
    if let Some(cluster) = connect(shared, shutdown, report).await
        && let Some((partitions, settings)) = topic(patient, &cluster, report).await
    {
        let outcome = LagReader::open(&shared.kafka, &shared.group, &shared.topic);
        let outcome = outcome.and_then(|reader| {
            let before = block_in_place(|| first_look(&reader, &partitions))?;
            Ok((reader, before))
        });
        if let Some((reader, before)) = told("position", outcome, report) {
            let looked = Instant::now();
            let found = block_in_place(|| take_sample(shared, &before, see, shutdown));
            sample = told("records", found, report).unwrap_or_default();
            judge_sample(patient, &sample, &settings, &cluster, report).await;
            lags = judge_group(patient, &cluster, (&reader, looked), before, report).await;
        }
    }
    sample.claims.judge(&shared.claims, shutdown, report).await;
    admin::judge(shared, report);
    lags
}

/// Judges topics; returns partitions and settings of the input topic, if it exists.
async fn topic(
    patient: &Patient<'_>,
    cluster: &Cluster,
    report: &mut Report,
) -> Option<(Vec<i32>, BTreeMap<String, String>)> {
    let shared = patient.shared;
    let brokers = told("brokers", cluster.brokers(), report)?.len();
    let layout = told("topic", cluster.layout(&shared.topic), report)?;
    if layout.is_empty() {
        report.problem(
            "topic",
            format!("receives nothing: there is no topic {}", shared.topic),
            "check --topic and --brokers, or create it",
        );
        return None;
    }
    let settings = cluster.topic_settings(&shared.topic).await;
    let settings = settings.unwrap_or_default();
    topics::layout(&shared.topic, &layout, brokers, shared.workers, report);
    for topic in patient.output.into_iter().chain(patient.dead_letters) {
        match told("topic", cluster.layout(topic), report) {
            None => {}
            Some(found) if found.is_empty() => {
                let count = layout.len();
                let text =
                    format!("{topic}: not there yet, will be created with {count} partitions");
                report.ok("topic", text);
            }
            Some(found) => topics::layout(topic, &found, brokers, 0, report),
        }
    }
    topics::retention(&shared.topic, &settings, patient.window, report);
    Some((layout.iter().map(|one| one.partition).collect(), settings))
}

async fn judge_sample(
    patient: &Patient<'_>,
    sample: &Sample,
    settings: &BTreeMap<String, String>,
    cluster: &Cluster,
    report: &mut Report,
) {
    let shared = patient.shared;
    sample.judge(&shared.topic, report);
    let stamped = settings.get("message.timestamp.type");
    let by_brokers = stamped.is_some_and(|by| by == "LogAppendTime");
    sample.judge_clock(by_brokers, now_ms(), report);
    if patient.by_user {
        sample.judge_keys(report);
    }
    let letters = match patient.dead_letters {
        Some(topic) => cluster.topic_settings(topic).await.ok(),
        None => None,
    };
    let sizes = Sizes {
        input: sizes::max_message(settings),
        letters: letters.as_ref().and_then(sizes::max_message),
        sent: shared.kafka.largest_sent(),
        largest: sample.largest,
    };
    sizes::sizes(&shared.topic, &sizes, report);
}

/// Judges members, positions and lag by two measurements; returns the second.
async fn judge_group(
    patient: &Patient<'_>,
    cluster: &Cluster,
    (reader, looked): (&LagReader, Instant),
    before: Vec<Lag>,
    report: &mut Report,
) -> Vec<Lag> {
    let shared = patient.shared;
    tokio::time::sleep(BETWEEN.saturating_sub(looked.elapsed())).await;
    let between = looked.elapsed();
    let partitions: Vec<i32> = before.iter().map(|lag| lag.partition).collect();
    let after = block_in_place(|| reader.look(&partitions));
    let Some(after) = told("lag", after, report) else {
        return before;
    };
    let members = cluster.members(&shared.group);
    let group = Group {
        name: &shared.group,
        topic: &shared.topic,
        client: &shared.kafka.client_id(),
        members: members.as_deref().unwrap_or_default(),
        before: &before,
        after: &after,
        between,
        starts_late: patient.starts_late,
        patience: patient.patience,
        recreated: patient.recreated,
        again: patient.again,
    };
    match &members {
        Ok(_) => group.judge_members(report),
        Err(error) => report.warning(
            "members",
            format!("the brokers do not tell them: {}", in_words(error)),
            "grant DESCRIBE on the group",
        ),
    }
    group.judge_positions(report);
    group.judge_lag(now_ms(), report);
    after
}

/// The result, or `None` and a problem in the report: the other checks go on.
fn told<T>(check: &'static str, outcome: anyhow::Result<T>, report: &mut Report) -> Option<T> {
    let tell = |error: anyhow::Error| {
        let remedy = "see the brokers' log, and what this client may do (ACLs)";
        report.problem(
            check,
            format!("the brokers did not tell: {}", in_words(&error)),
            remedy,
        );
    };
    outcome.map_err(tell).ok()
}

/// The first measurement, repeated for a while: a coordinator elected a moment ago, for the first group of a cluster,
/// answers that it is not the coordinator.
fn first_look(reader: &LagReader, partitions: &[i32]) -> anyhow::Result<Vec<Lag>> {
    let deadline = Instant::now() + SAMPLE;
    loop {
        match reader.look(partitions) {
            Err(error) if Instant::now() < deadline => tracing::debug!("{error:#}"),
            outcome => return outcome,
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The newest records of all partitions, as many as arrive in time.
fn take_sample(
    shared: &Shared,
    lags: &[Lag],
    mut see: impl FnMut(&Record<'_>) -> Seen,
    shutdown: &CancellationToken,
) -> anyhow::Result<Sample> {
    let consumer = Consumer::outside(&shared.kafka, &shared.group, &shared.topic)
        .context("opening a reader for a sample")?;
    let each = RECORDS.div_ceil(lags.len().max(1)) as i64;
    let filled = lags.iter().filter(|lag| !lag.log.is_empty());
    let starts: Vec<(i32, i64)> = filled
        .map(|lag| (lag.partition, lag.log.oldest.max(lag.log.end - each)))
        .collect();
    let mut open: BTreeSet<i32> = starts.iter().map(|(partition, _)| *partition).collect();
    consumer.start(&starts)?;
    let mut sample = Sample::default();
    let deadline = Instant::now() + SAMPLE;
    while !open.is_empty() && Instant::now() < deadline && !shutdown.is_cancelled() {
        match consumer.poll(Duration::from_millis(100))? {
            Polled::Record(record) => {
                let place = (record.partition(), lags.len());
                let bytes = (record.key(), record.value());
                let seen = see(&record);
                sample.take(place, bytes, record.timestamp(), seen);
                // A topic under load never ends.
                if sample.records >= 2 * RECORDS as u64 {
                    break;
                }
            }
            Polled::End(partition) => {
                open.remove(&partition);
            }
            _ => {}
        }
    }
    Ok(sample)
}
