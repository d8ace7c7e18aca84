//! Reads the history of all users from the events' topic.

use super::history::{Counts, Incoming};
use super::{History, Question};
use crate::bounded::stretch::Range;
use crate::dataset::offset::Offset;
use std::time::{Duration, Instant};
use tidemill_core::claim::Resolver;
use tidemill_core::exit::Failure;
use tidemill_core::kafka::{Consumer, Polled};
use tidemill_core::record::resent::Original;
use tidemill_core::settings::Shared;
use tokio_util::sync::CancellationToken;

/// Between two log lines.
const LINES: Duration = Duration::from_secs(5);

/// Reads these ranges, all of the topic that is retained, and takes the records of before `to` in Kafka time; `None` when
/// told to stop before.
pub(crate) fn load(
    shared: &Shared,
    resolver: &Resolver,
    topic: &str,
    ranges: &[Range],
    question: &Question,
    to: Option<i64>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<History>> {
    let consumer = Consumer::outside(&shared.kafka, &shared.group, topic)?;
    let id = consumer.topic_id()?;
    let total: u64 = ranges.iter().map(Range::len).sum();
    tracing::info!(topic, records = total, "reading the users' events");
    let mut history = History::new(question.clone(), to);
    let begun = Instant::now();
    loop {
        if read(&consumer, resolver, ranges, &mut history, shutdown)?.is_none() {
            return Ok(None);
        }
        if !history.begins_again() {
            break;
        }
        tracing::info!(
            topic,
            "reading the users' events once more: a user with events in several partitions was erased"
        );
    }
    if let Some(id) = id
        && consumer.created_again(id)?.is_some()
    {
        return Err(Failure::usage(format!(
            "{topic} was deleted and created again while it was read: run again"
        )));
    }
    let (counts, users) = history.counts();
    let Counts {
        events,
        unusable,
        copies,
    } = counts;
    let seconds = begun.elapsed().as_millis() as f64 / 1e3;
    tracing::info!(
        topic,
        events,
        unusable,
        copies,
        users,
        seconds,
        "read the users' events"
    );
    Ok(Some(history))
}

/// Takes the records of these ranges into the history; `None` if stopped before.
fn read(
    consumer: &Consumer,
    resolver: &Resolver,
    ranges: &[Range],
    history: &mut History,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<()>> {
    let topic = consumer.topic();
    let total: u64 = ranges.iter().map(Range::len).sum();
    let (begun, mut line) = (Instant::now(), Instant::now());
    let mut read = 0_u64;
    // One partition after the other, so that the same log always gives the same history.
    // Of a log that has lost records the oldest one that is left is looked at even where nothing is to be read.
    for range in ranges
        .iter()
        .filter(|range| range.len() > 0 || range.first > Offset::default())
    {
        consumer.start(&[(range.partition, range.first.into())])?;
        history.begin(range.first);
        loop {
            if shutdown.is_cancelled() {
                return Ok(None);
            }
            match consumer.poll(Duration::from_millis(50))? {
                Polled::Record(record) => {
                    let offset = Offset::from(record.offset());
                    let seen = history.see(record.timestamp());
                    if offset < range.end && history.takes(record.timestamp()) {
                        let content = resolver.resolve(record.value())?;
                        let partition = record.partition();
                        let headers = record.headers();
                        let incoming = Incoming {
                            partition,
                            offset,
                            timestamp: record.timestamp(),
                            key: record.key(),
                            original: Original::of(headers, topic, partition, record.offset()),
                        };
                        history.insert(incoming, content.of(record.value()));
                        read += 1;
                    }
                    if seen && offset.next() >= range.end {
                        break;
                    }
                    if read.is_multiple_of(65_536) && line.elapsed() > LINES {
                        line = Instant::now();
                        let per_second = (read as f64 / begun.elapsed().as_secs_f64()).round();
                        tracing::info!(
                            topic,
                            read,
                            of = total,
                            per_second,
                            "reading the users' events"
                        );
                    }
                }
                Polled::OutOfRange => {
                    return Err(Failure::usage(format!(
                        "retention deletes {topic} faster than it is read, or it was created again: run again"
                    )));
                }
                Polled::End(_) => break,
                _ => {}
            }
        }
        history.end();
        consumer.release(&[range.partition])?;
    }
    Ok(Some(()))
}
