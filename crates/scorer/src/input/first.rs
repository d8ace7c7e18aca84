//! The first start of a group: `--start`, unless the topic is another one than the group has scored before.
//!
//! Kafka deletes a group's positions with their topic. A topic that was made anew while no member was there then looks like
//! one that the group meets for the first time. The newest predictions tell the two apart: their receipts name the id
//! of the topic whose records they are of.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use serde::Deserialize;
use tidemill_core::kafka::{Consumer, Polled, Record, TopicId};
use tokio_util::sync::CancellationToken;

use crate::output::prediction::RECEIPT_HEADER;
use crate::settings::{Config, Start};

/// Offsets at the end of each partition of the output topic that are looked at: predictions, and transactions' markers.
const NEWEST: i64 = 100;

/// Time limit for reading them.
const ANSWER: Duration = Duration::from_secs(10);

/// Pause after which the reader looks at the time, and if it is to stop.
const POLL: Duration = Duration::from_millis(100);

/// The part of a receipt that names the topic.
#[derive(Deserialize)]
struct Receipt {
    topic: String,
    topic_id: Option<String>,
}

/// The start of a group that has no positions in the topic of id `now`, whose id was `before` when the process started.
///
/// # Errors
///
/// The output topic's newest predictions cannot be read now.
pub(super) fn start(
    config: &Config,
    before: Option<TopicId>,
    now: Option<TopicId>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Start> {
    if config.start == Start::Earliest {
        return Ok(config.start);
    }
    let known = match before {
        Some(before) if now != Some(before) => vec![before],
        _ => scored(config, shutdown)?,
    };
    if !is_made_anew(&known, now) {
        return Ok(config.start);
    }
    tracing::warn!("the topic was made anew, and its group's positions are gone with the old one");
    Ok(Start::Earliest)
}

/// Tells if only former topics are known, and not the one of id `now`.
fn is_made_anew(known: &[TopicId], now: Option<TopicId>) -> bool {
    now.is_some_and(|now| !known.is_empty() && !known.contains(&now))
}

/// The ids of the input topic in the receipts of the newest predictions.
fn scored(config: &Config, shutdown: &CancellationToken) -> anyhow::Result<Vec<TopicId>> {
    let (shared, output) = (&config.shared, &config.output_topic);
    let reader = Consumer::outside(&shared.kafka, &shared.group, output)?;
    let all: Vec<i32> = (0..reader.partition_count()?).collect();
    let ranges = reader.log_ranges(&all)?.into_iter();
    let ranges = ranges.filter(|(_, range)| !range.is_empty());
    let starts = ranges.map(|(partition, log)| (partition, log.oldest.max(log.end - NEWEST)));
    let starts: Vec<(i32, i64)> = starts.collect();
    let mut left: BTreeSet<i32> = starts.iter().map(|(partition, _)| *partition).collect();
    reader.start(&starts)?;
    let (mut ids, deadline) = (Vec::new(), Instant::now() + ANSWER);
    while !left.is_empty() {
        ensure!(
            !shutdown.is_cancelled() && Instant::now() < deadline,
            "the newest predictions in topic {output} were not read within {ANSWER:?}; the scorer needs the right to \
             read it"
        );
        match reader.poll(POLL)? {
            Polled::Record(record) => ids.extend(id(&record, &shared.topic)),
            Polled::End(partition) => drop(left.remove(&partition)),
            Polled::OutOfRange => bail!("the log of topic {output} has changed meanwhile"),
            _ => {}
        }
    }
    Ok(ids)
}

/// The id of topic `source` that a prediction names.
fn id(record: &Record<'_>, source: &str) -> Option<TopicId> {
    let mut headers = record.headers();
    let receipt = headers.find(|(name, _)| *name == RECEIPT_HEADER.as_bytes());
    named(receipt?.1?, source)
}

fn named(receipt: &[u8], source: &str) -> Option<TopicId> {
    let receipt: Receipt = serde_json::from_slice(receipt).ok()?;
    let of_source = receipt.topic_id.filter(|_| receipt.topic == source);
    of_source?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::prediction::{receipt_prefix, write_receipt};

    fn topic_id(text: &str) -> TopicId {
        text.parse().unwrap()
    }

    #[test]
    fn a_topic_is_made_anew_where_only_former_ones_are_known() {
        let [one, two, now] = [
            "AAAAAAAAAAAAAAAAAAAAAQ",
            "AAAAAAAAAAAAAAAAAAAAAg",
            "AAAAAAAAAAAAAAAAAAAAAw",
        ]
        .map(topic_id);
        assert!(is_made_anew(&[one], Some(now)) && is_made_anew(&[one, two], Some(now)));
        assert!(!is_made_anew(&[], Some(now)), "a new group");
        assert!(!is_made_anew(&[one, now], Some(now)), "positions deleted");
        assert!(!is_made_anew(&[one], None), "brokers without ids");
    }

    #[test]
    fn receipts_name_the_topic_that_they_are_of() {
        let own = topic_id("AAAAAAAAAAAAAAAAAAAAAQ");
        let receipt = |id: Option<TopicId>| {
            let mut out = Vec::new();
            let receipt = crate::output::prediction::Receipt {
                offset: 1,
                inputs: &[1.5],
                statuses: &[],
                times: None,
            };
            write_receipt(&mut out, &receipt_prefix("m", "t", id, 0), &receipt);
            out
        };
        assert_eq!(named(&receipt(Some(own)), "t"), Some(own));
        assert_eq!(named(&receipt(Some(own)), "another"), None);
        assert_eq!(named(&receipt(None), "t"), None, "an older version's");
        assert_eq!(named(b"{", "t"), None);
    }
}
