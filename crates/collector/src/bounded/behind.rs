//! Records behind a stretch that are of its times: Kafka times need not ascend, and a stretch is one of offsets.

use super::stretch::Range;
use crate::settings::Stretch;
use std::collections::BTreeMap;
use std::time::Duration;
use tidemill_core::kafka::{Consumer, Polled};
use tidemill_core::settings::Shared;
use tokio_util::sync::CancellationToken;

/// Records of each partition that are looked at: times that are out of order are mostly so by little.
const LOOK: u64 = 10_000;

/// The same of all partitions together: a second of work.
const LOOK_IN_ALL: u64 = 1_000_000;

/// Warns of records that lie behind the ends of the ranges although they are of times before `--to`.
pub(crate) fn warn(
    shared: &Shared,
    ranges: &[Range],
    stretch: Stretch,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let behind = ranges
        .iter()
        .filter(|range| range.end < range.log.end.into());
    let starts: Vec<(i32, i64)> = behind
        .map(|range| (range.partition, range.end.into()))
        .collect();
    if stretch.to.is_none() || starts.is_empty() {
        return Ok(());
    }
    let consumer = Consumer::outside(&shared.kafka, &shared.group, &shared.topic)?;
    consumer.start(&starts)?;
    let each = (LOOK_IN_ALL / starts.len() as u64).clamp(1, LOOK);
    let mut left: BTreeMap<i32, u64> = starts.iter().map(|(own, _)| (*own, each)).collect();
    let mut found = 0_u64;
    while !left.is_empty() && !shutdown.is_cancelled() {
        match consumer.poll(Duration::from_millis(50))? {
            Polled::Record(record) => {
                let partition = record.partition();
                let Some(records) = left.get_mut(&partition) else {
                    continue;
                };
                *records -= 1;
                found += u64::from(is_within(stretch, record.timestamp()));
                if *records == 0 {
                    left.remove(&partition);
                    consumer.pause(&[partition])?;
                }
            }
            Polled::End(partition) => drop(left.remove(&partition)),
            // Retention has passed the end of the stretch.
            Polled::OutOfRange => break,
            _ => {}
        }
    }
    if found > 0 {
        tracing::warn!(
            records = found,
            "these lie behind the stretch and are of its times: Kafka times of the topic do not ascend. --from and --to \
             stand for the first record of that time or later, and what lies between is collected; give a later --to"
        );
    }
    Ok(())
}

fn is_within(stretch: Stretch, time: Option<i64>) -> bool {
    let Stretch { from, to } = stretch;
    time.is_some_and(|time| from.is_none_or(|from| time >= from) && to.is_none_or(|to| time < to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_of_the_stretch_by_their_time() {
        let (from, to) = (Some(10), Some(20));
        for (stretch, expected) in [
            (Stretch { from, to }, [false, true, true, false, false]),
            (Stretch { from: None, to }, [true, true, true, false, false]),
        ] {
            let times = [Some(9), Some(10), Some(19), Some(20), None];
            assert_eq!(times.map(|time| is_within(stretch, time)), expected);
        }
    }
}
