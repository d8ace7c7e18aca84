//! Reads the history of all users from the events' topic.

use super::history::{Counts, Place};
use super::{History, Question};
use crate::bounded::stretch;
use crate::settings::Stretch;
use anyhow::bail;
use std::time::{Duration, Instant};
use tidemill_core::claim::Resolver;
use tidemill_core::kafka::{Consumer, Polled};
use tidemill_core::record::resent::Original;
use tidemill_core::settings::Shared;
use tokio_util::sync::CancellationToken;

/// Between two log lines.
const LINES: Duration = Duration::from_secs(5);

/// Reads all of the topic that is retained, up to `to` in Kafka time; `None` when told to stop before.
pub(crate) fn load(
    shared: &Shared,
    resolver: &Resolver,
    topic: &str,
    partitions: &[i32],
    question: &Question,
    to: Option<i64>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<History>> {
    let consumer = Consumer::outside(&shared.kafka, &shared.group, topic)?;
    let ranges = stretch::log_ranges(&consumer, partitions, Stretch { from: None, to })?;
    let total: u64 = ranges.iter().map(stretch::Range::len).sum();
    tracing::info!(topic, records = total, "reading the users' events");
    let mut history = History::new(question.clone(), to);
    let (begun, mut line) = (Instant::now(), Instant::now());
    let mut read = 0_u64;
    // One partition after the other, so that the same log always gives the same history.
    // Of a log that has lost records the oldest one that is left is looked at even where nothing is to be read.
    for range in ranges
        .iter()
        .filter(|range| range.len() > 0 || range.first > 0)
    {
        consumer.start(&[(range.partition, range.first)])?;
        history.begin(range.first);
        loop {
            if shutdown.is_cancelled() {
                return Ok(None);
            }
            match consumer.poll(Duration::from_millis(50))? {
                Polled::Record(record) => {
                    let seen = history.see(record.timestamp());
                    if record.offset() < range.end {
                        let content = resolver.resolve(record.value())?;
                        let value = content.of(record.value());
                        let (partition, offset) = (record.partition(), record.offset());
                        let original = Original::of(record.headers(), topic, partition, offset);
                        let place = Place {
                            partition,
                            offset,
                            original,
                        };
                        history.insert(place, record.key(), value, record.timestamp());
                        read += 1;
                    }
                    if seen && record.offset() + 1 >= range.end {
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
                    bail!("retention deletes {topic} faster than it is read: run again")
                }
                Polled::End(_) => break,
                _ => {}
            }
        }
        history.end();
        consumer.release(&[range.partition])?;
    }
    let (counts, users) = history.counts();
    let Counts {
        events,
        unusable,
        copies,
    } = counts;
    let seconds = begun.elapsed().as_secs_f64();
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
