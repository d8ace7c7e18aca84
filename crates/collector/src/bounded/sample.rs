//! Reading records only to learn their schema.

use crate::bounded::stretch::Range;
use crate::dataset::offset::Offset;
use crate::encode::schema::Sample;
use std::time::Duration;
use tidemill_core::claim::Resolver;
use tidemill_core::kafka::{Consumer, Polled};
use tidemill_core::settings::Shared;
use tokio_util::sync::CancellationToken;

/// From so many records a bounded run infers the schema of its data set.
pub(crate) const SAMPLE: u64 = 10_000;

/// The records that were read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// Those of them that are usable.
    pub(crate) sample: Sample,
    /// All of them. Ranges may have offsets and no record: those of transaction markers and of aborted records.
    pub(crate) records: u64,
}

/// Reads the ranges one after the other, at most `limit` usable records of each, until `enough` says so after one of them.
pub(crate) fn read(
    shared: &Shared,
    resolver: &Resolver,
    ranges: &[Range],
    limit: u64,
    enough: impl Fn(&Sample) -> bool,
    shutdown: &CancellationToken,
) -> anyhow::Result<Read> {
    let mut all = Read::default();
    for range in ranges.iter().filter(|range| range.len() > 0) {
        let consumer = Consumer::outside(&shared.kafka, &shared.group, &shared.topic)?;
        consumer.start(&[(range.partition, range.first.into())])?;
        let mut left = limit;
        while left > 0 && !shutdown.is_cancelled() {
            match consumer.poll(Duration::from_millis(50))? {
                Polled::Record(record) if Offset::from(record.offset()) >= range.end => break,
                Polled::Record(record) => {
                    let content = resolver.peek(record.value())?;
                    let value = content.of(record.value());
                    let observed = value.and_then(|value| all.sample.observe(value));
                    left -= u64::from(observed.is_ok());
                    all.records += 1;
                }
                Polled::OutOfRange => {
                    let log = consumer.log_range(range.partition)?;
                    consumer.seek(range.partition, log.oldest)?;
                }
                Polled::End(_) => break,
                _ => {}
            }
        }
        if enough(&all.sample) {
            break;
        }
    }
    Ok(all)
}
