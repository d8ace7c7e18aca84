//! Open transactions: they hold back their own records and all behind them, of which a bounded run may leave out none.

use super::stretch::{self, Range};
use crate::dataset::offset::Offset;
use crate::pipeline::retry::Outages;
use crate::settings::Stretch;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use tidemill_core::kafka::Consumer;
use tidemill_core::settings::Shared;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// The stretch of a topic, once all of its records can be read: transactions that are open in it are waited for. `None`
/// if stopped before.
pub(crate) async fn readable_ranges(
    shared: &Shared,
    topic: &str,
    partitions: &[i32],
    stretch: Stretch,
    outages: &Outages,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<Vec<Range>>> {
    let look_up =
        || async { block_in_place(|| stretch::log_ranges(shared, topic, partitions, stretch)) };
    let what = "looking up the stretch";
    let Some(ranges) = outages.retry_until(shutdown, what, look_up).await? else {
        return Ok(None);
    };
    // The end of the stretch stays as it was: else one transaction after the other could be waited for.
    let wait = || async {
        let ends = block_in_place(|| readable_ends(shared, topic, partitions))?;
        match held_back(topic, &ranges, &ends) {
            None => Ok(()),
            Some(text) => Err(Error::new(ErrorKind::WouldBlock, text).into()),
        }
    };
    let what = "reading to the end of the stretch";
    let readable = outages.retry_until(shutdown, what, wait).await?;
    Ok(readable.map(|()| ranges))
}

/// The position in each partition at which its oldest open transaction begins, otherwise the end of its log.
fn readable_ends(
    shared: &Shared,
    topic: &str,
    partitions: &[i32],
) -> anyhow::Result<BTreeMap<i32, Offset>> {
    let consumer = Consumer::outside(&shared.kafka, &shared.group, topic)?;
    let ranges = consumer.log_ranges(partitions)?.into_iter();
    Ok(ranges
        .map(|(partition, log)| (partition, log.end.into()))
        .collect())
}

/// The partitions whose range is not readable to its end, for people.
fn held_back(topic: &str, ranges: &[Range], ends: &BTreeMap<i32, Offset>) -> Option<String> {
    let behind = ranges.iter().filter_map(|range| {
        let readable = *ends.get(&range.partition)?;
        let held_back = range.len() > 0 && readable < range.end;
        let Range { partition, end, .. } = range;
        held_back.then(|| {
            format!(
                "{topic} {partition}: a transaction is open at offset {readable}, and the stretch ends at {end}"
            )
        })
    });
    let behind: Vec<String> = behind.collect();
    (!behind.is_empty()).then(|| {
        format!(
            "{}; its records are waited for until its producer, or the producer's time limit, ends that transaction",
            behind.join("; ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounded::stretch::tests::range;

    #[test]
    fn a_range_is_readable_once_no_transaction_is_open_in_it() {
        let ranges = [range(0, 9), range(1, 0), range(2, 5)];
        for (ends, expected) in [
            ([9, 0, 5], None),
            // The transaction begins behind the range.
            ([9, 0, 7], None),
            ([3, 0, 5], Some("t 0: a transaction is open at offset 3")),
            ([9, 0, 0], Some("the stretch ends at 5")),
        ] {
            let ends = (0..).zip(ends.map(Offset::from)).collect();
            let found = held_back("t", &ranges, &ends);
            assert_eq!(found.is_some(), expected.is_some(), "{found:?}");
            assert!(
                found
                    .unwrap_or_default()
                    .contains(expected.unwrap_or_default())
            );
        }
    }
}
