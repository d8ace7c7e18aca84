//! Asks brokers, topics, records and group, within bounded time, and has the answers judged.

use super::Report;
use super::group::Group;
use super::listeners::reachable;
use super::sample::{Sample, Seen};
use super::sizes::{self, Sizes};
use super::topics;
use crate::clock::now_ms;
use crate::kafka::lag::{Lag, LagReader};
use crate::kafka::{Broker, Cluster, Complaints, Consumer, Polled, Record};
use crate::settings::Shared;
use anyhow::Context;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// How long brokers may take to answer at first, if --connect-timeout is not shorter.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a client that gets no answer is listened to.
const COMPLAINTS: Duration = Duration::from_secs(3);

/// How long the sample may take to arrive.
const SAMPLE: Duration = Duration::from_secs(5);

/// How many of its newest records are sampled of a topic.
const RECORDS: usize = 2_000;

/// The two looks at the lag are this far apart.
const BETWEEN: Duration = Duration::from_secs(3);

/// What is to be examined.
#[derive(Clone, Copy, Debug)]
pub struct Patient<'a> {
    /// The flags of every binary.
    pub shared: &'a Shared,
    /// Topic for records that cannot be used, where there is one.
    pub dead_letters: Option<&'a str>,
    /// Topic that is written to, where there is one.
    pub output: Option<&'a str>,
    /// How far the longest window looks back.
    pub window: Option<Duration>,
    /// A user's records must lie in one partition.
    pub by_user: bool,
    /// A group without positions starts at the end.
    pub starts_late: bool,
    /// How long records may wait for being committed in normal running.
    pub patience: Duration,
    /// What to do where the topic was made anew.
    pub recreated: &'a str,
    /// How the group is made to read again what it has read.
    pub again: &'a str,
}

/// Examines everything that has to do with Kafka, and claims; `see` says what the binary makes of a record. Returns what
/// was seen of the topic's log, nothing where it was not reached.
pub async fn examine(
    patient: &Patient<'_>,
    see: impl FnMut(&Record<'_>) -> Seen,
    shutdown: &CancellationToken,
    report: &mut Report,
) -> Vec<Lag> {
    ask(patient, see, shutdown, report)
        .await
        .unwrap_or_else(|error| {
            report.problem(
                "brokers",
                format!("they answered at first, but then: {error:#}"),
                "see the brokers' log, and what this client may do (ACLs)",
            );
            Vec::new()
        })
}

async fn ask(
    patient: &Patient<'_>,
    see: impl FnMut(&Record<'_>) -> Seen,
    shutdown: &CancellationToken,
    report: &mut Report,
) -> anyhow::Result<Vec<Lag>> {
    let Patient { shared, .. } = patient;
    let limit = shared.connect_timeout.min(CONNECT);
    let cluster = match Cluster::open(&shared.kafka) {
        Ok(cluster) => cluster,
        Err(error) => {
            report.problem(
                "brokers",
                format!("{error:#}"),
                "mend the file of --kafka-config",
            );
            return Ok(Vec::new());
        }
    };
    let reached = cluster.reach(limit, shutdown).await;
    let brokers = match reached.and_then(|()| cluster.brokers()) {
        Ok(brokers) => brokers,
        Err(error) => {
            unanswered(&cluster, shared, &error, report).await;
            return Ok(Vec::new());
        }
    };
    let given = shared.kafka.brokers();
    if !reachable(&brokers, given, report).await {
        return Ok(Vec::new());
    }
    let place = |one: &Broker| format!("{}:{}", one.host, one.port);
    let places: Vec<String> = brokers.iter().map(place).collect();
    report.ok(
        "brokers",
        format!(
            "{given} answers; {} can be reached as advertised",
            places.join(", ")
        ),
    );
    let layout = cluster.layout(&shared.topic)?;
    if layout.is_empty() {
        report.problem(
            "topic",
            format!("receives nothing: there is no topic {}", shared.topic),
            "check --topic and --brokers, or create it",
        );
        return Ok(Vec::new());
    }
    let settings = cluster
        .topic_settings(&shared.topic)
        .await
        .unwrap_or_default();
    topics::layout(
        &shared.topic,
        &layout,
        brokers.len(),
        shared.workers,
        report,
    );
    for topic in patient.output.into_iter().chain(patient.dead_letters) {
        outputs(&cluster, topic, layout.len(), brokers.len(), report)?;
    }
    topics::retention(&shared.topic, &settings, patient.window, report);

    let partitions: Vec<i32> = layout.iter().map(|one| one.partition).collect();
    let reader = LagReader::open(&shared.kafka, &shared.group, &shared.topic)?;
    let looked = Instant::now();
    let before = block_in_place(|| first_look(&reader, &partitions))?;
    let sample = block_in_place(|| sample(shared, &before, see, shutdown))?;
    sample.judge(&shared.topic, report);
    let stamped = settings.get("message.timestamp.type");
    let by_brokers = stamped.is_some_and(|by| by == "LogAppendTime");
    sample.judge_clock(by_brokers, now_ms(), report);
    sample.claims.judge(&shared.claims, shutdown, report).await;
    if patient.by_user {
        sample.judge_keys(report);
    }
    let letters = match patient.dead_letters {
        Some(topic) => cluster.topic_settings(topic).await.ok(),
        None => None,
    };
    let sizes = Sizes {
        input: sizes::max_message(&settings),
        letters: letters.as_ref().and_then(sizes::max_message),
        sent: shared.kafka.largest_sent(),
        largest: sample.largest,
    };
    sizes::sizes(&shared.topic, &sizes, report);

    tokio::time::sleep(BETWEEN.saturating_sub(looked.elapsed())).await;
    let between = looked.elapsed();
    let after = block_in_place(|| reader.look(&partitions))?;
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
            format!("the brokers do not tell them: {error:#}"),
            "grant DESCRIBE on the group",
        ),
    }
    group.judge_positions(report);
    group.judge_lag(now_ms(), report);
    Ok(after)
}

/// Says why nothing is answered: nobody is there, or only at an address that is not the one advertised.
async fn unanswered(
    cluster: &Cluster,
    shared: &Shared,
    error: &anyhow::Error,
    report: &mut Report,
) {
    let Complaints { brokers, first } = block_in_place(|| cluster.complaints(COMPLAINTS));
    if !reachable(&brokers, shared.kafka.brokers(), report).await {
        return;
    }
    let first = first.map_or_else(String::new, |first| format!(" ({first})"));
    report.problem(
        "brokers",
        format!("no brokers available: {error:#}{first}"),
        "see whether the brokers run, and whether their port can be reached from here",
    );
}

/// The first look, tried for a while: a coordinator that was elected a moment ago, for the first group of a cluster, says
/// that it is none.
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

fn outputs(
    cluster: &Cluster,
    topic: &str,
    partitions: usize,
    brokers: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let layout = cluster.layout(topic)?;
    if layout.is_empty() {
        report.ok(
            "topic",
            format!("{topic}: not there yet, will be created with {partitions} partitions"),
        );
    } else {
        topics::layout(topic, &layout, brokers, 0, report);
    }
    Ok(())
}

/// The newest records of all partitions, as many as arrive in time.
fn sample(
    shared: &Shared,
    lags: &[Lag],
    mut see: impl FnMut(&Record<'_>) -> Seen,
    shutdown: &CancellationToken,
) -> anyhow::Result<Sample> {
    let consumer = Consumer::outside(&shared.kafka, &shared.group, &shared.topic)
        .context("opening a reader for a sample")?;
    let each = RECORDS.div_ceil(lags.len().max(1)) as i64;
    let filled = lags.iter().filter(|lag| lag.end > lag.oldest);
    let starts: Vec<(i32, i64)> = filled
        .map(|lag| (lag.partition, lag.oldest.max(lag.end - each)))
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
                // A topic under load has no end.
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
