//! The newest files of a data set against where the consumer group has got to, which only moves behind published files.

use super::Reach;
use crate::dataset::catalog::Source;
use std::collections::BTreeMap;
use tidemill_core::exit::Failure;
use tidemill_core::kafka::lag::{Lag, LagReader};
use tidemill_core::kafka::{Cluster, LogRange};
use tidemill_core::settings::Shared;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// Names the partitions whose newest files are missing. `ends` says where the files of each partition end, as far as
/// that is known.
///
/// Errors: the group has no position in the topic, so that it says nothing, or the brokers do not answer.
pub(super) async fn missing(
    shared: &Shared,
    topic: &str,
    ends: &BTreeMap<Source, Reach>,
) -> anyhow::Result<Vec<String>> {
    let never = CancellationToken::new();
    let cluster = Cluster::connect(&shared.kafka, shared.connect_timeout, &never).await?;
    let Some(count) = cluster.partitions(topic)? else {
        return Ok(vec![format!("{topic}: the brokers have no such topic")]);
    };
    let partitions: Vec<i32> = (0..).take(count).collect();
    let reader = LagReader::open(&shared.kafka, &shared.group, topic)?;
    let lags = block_in_place(|| reader.look(&partitions))?;
    if lags.iter().all(|lag| lag.committed.is_none()) {
        return Err(without_a_position(&shared.group, topic));
    }
    Ok(compare(topic, &shared.group, ends, &lags))
}

fn without_a_position(group: &str, topic: &str) -> anyhow::Error {
    Failure::usage(format!(
        "group {group} has no position in {topic}, so that missing last files would not show: give the --group of the \
         live run that collected them; of a bounded run, which has none, give neither --brokers nor --group"
    ))
}

fn compare(topic: &str, group: &str, ends: &BTreeMap<Source, Reach>, lags: &[Lag]) -> Vec<String> {
    let missing = lags.iter().filter_map(|lag| {
        let Lag {
            partition,
            committed,
            log: LogRange { oldest, end },
            ..
        } = lag;
        let own = ends.get(&(topic.to_owned(), *partition));
        let (files, told) = match own.copied().unwrap_or(Reach::Nowhere) {
            Reach::Nowhere => (0, "there is no file".to_owned()),
            Reach::To(files) => (i64::from(files), format!("the files end at {files}")),
            Reach::Unknown => return None,
        };
        if files > *end {
            return Some(format!(
                "{topic} {partition}: the files reach to {files}, its log ends at {end}: the topic was made anew or cut"
            ));
        }
        // A group begins at the oldest record, before the file is there that tells of those deleted before it.
        let reached = committed.filter(|reached| *reached > files.max(*oldest))?;
        Some(format!(
            "{topic} {partition}: the last files are missing: group {group} has got to {reached}, {told}"
        ))
    });
    missing.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::offset::Offset;

    #[test]
    fn files_that_end_before_the_group_are_missing() {
        let at = |end| Some(Reach::To(Offset::from(end)));
        for (files, committed, oldest, told) in [
            (at(80), Some(80), 0, None),
            (at(90), Some(80), 0, None),
            (at(80), None, 0, None),
            (at(80), Some(90), 0, Some("end at 80")),
            (None, Some(90), 0, Some("there is no file")),
            (None, Some(50), 50, None),
            (at(80), Some(90), 85, Some("got to 90")),
            (at(101), Some(90), 0, Some("its log ends at 100")),
            // Its last file cannot be read.
            (Some(Reach::Unknown), Some(90), 0, None),
        ] {
            let ends = files.map(|end| (("t".to_owned(), 2), end));
            let lag = Lag {
                partition: 2,
                committed,
                log: LogRange { oldest, end: 100 },
                first_unread: None,
                at_end: false,
            };
            let found = compare("t", "g", &ends.into_iter().collect(), &[lag]);
            match told {
                None => assert_eq!(found, Vec::<String>::new(), "{files:?} {committed:?}"),
                Some(told) => assert!(found[0].contains(told), "{found:?}"),
            }
        }
    }
}
