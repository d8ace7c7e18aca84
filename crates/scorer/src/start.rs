//! Where assigned partitions are read from: the committed position, or on a group's first start
//! where `--start` says, committed at once.
//!
//! A first start must be told from a partition added later, which is read from its beginning. So
//! whoever has partition 0 commits the start of all partitions in one request, and the others wait
//! for it: once partition 0 has a position, a partition without one is new.

use std::time::Duration;

use tidemill_core::kafka::Consumer;
use tokio_util::sync::CancellationToken;

use crate::settings::Start;

/// Between two looks at the committed positions.
const WAIT: Duration = Duration::from_millis(100);

/// How long one look at the committed positions may take. They are looked at again for as long as it takes, but a
/// partition can be let go, and the process stopped, only between two looks.
pub const ANSWER: Duration = Duration::from_secs(2);

/// What is to be done about assigned partitions.
#[derive(Debug, PartialEq)]
enum Step {
    /// Read on at these positions; those without one from the log's start.
    Go(Vec<(i32, Option<i64>)>),
    /// The group starts for the first time: commit `--start` for these partitions.
    First(Vec<i32>),
    /// Another member is about to commit the first start.
    Wait,
}

/// The positions to read `assigned` partitions from; `None` when stopped while waiting for them.
/// `count` is how many partitions the topic had when the process started. An outage is waited out.
pub fn positions(
    consumer: &Consumer,
    assigned: &[i32],
    count: usize,
    start: Start,
    shutdown: &CancellationToken,
) -> Option<Vec<(i32, i64)>> {
    let highest = assigned.iter().max().map_or(0, |highest| highest + 1);
    let all: Vec<i32> = (0..highest.max(count as i32)).collect();
    while !shutdown.is_cancelled() {
        match attempt(consumer, assigned, &all, start) {
            Ok(Some(positions)) => return Some(positions),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!("fixing the start positions of {assigned:?}: {error:#}");
            }
        }
        std::thread::sleep(WAIT);
    }
    None
}

fn attempt(
    consumer: &Consumer,
    assigned: &[i32],
    all: &[i32],
    start: Start,
) -> anyhow::Result<Option<Vec<(i32, i64)>>> {
    // Those of others may be withheld, and matter only to partitions without one.
    let mut committed = consumer.committed(assigned, ANSWER)?;
    if committed.iter().any(|(_, position)| position.is_none()) {
        committed = consumer.committed(all, ANSWER)?;
    }
    match decide(&committed, assigned) {
        Step::Go(committed) => {
            let (mut positions, mut new) = (Vec::new(), Vec::new());
            for (partition, position) in committed {
                match position {
                    Some(position) => positions.push((partition, position)),
                    None => new.push((partition, consumer.log_range(partition)?.0)),
                }
            }
            if !new.is_empty() {
                consumer.commit(&new)?;
                tracing::info!(positions = ?new, "new partitions, read from their start");
                positions.extend(new);
            }
            Ok(Some(positions))
        }
        Step::First(partitions) => {
            let positions = find(consumer, &partitions, start)?;
            consumer.commit(&positions)?;
            tracing::info!(?start, ?positions, "first start of the group");
            Ok(None)
        }
        Step::Wait => Ok(None),
    }
}

/// Where `start` is in each of the partitions.
///
/// # Errors
///
/// The brokers do not tell.
pub fn find(
    consumer: &Consumer,
    partitions: &[i32],
    start: Start,
) -> anyhow::Result<Vec<(i32, i64)>> {
    if let Start::Time(time_ms) = start {
        return consumer.positions_at(partitions, time_ms);
    }
    let positions = partitions.iter().map(|partition| {
        let (oldest, end) = consumer.log_range(*partition)?;
        Ok((
            *partition,
            if start == Start::Earliest {
                oldest
            } else {
                end
            },
        ))
    });
    positions.collect()
}

fn decide(committed: &[(i32, Option<i64>)], assigned: &[i32]) -> Step {
    let position = |partition: i32| {
        committed
            .iter()
            .find(|(other, _)| *other == partition)
            .and_then(|(_, position)| *position)
    };
    let lacking = assigned
        .iter()
        .any(|partition| position(*partition).is_none());
    if position(0).is_some() || !lacking {
        Step::Go(
            assigned
                .iter()
                .map(|partition| (*partition, position(*partition)))
                .collect(),
        )
    } else if assigned.contains(&0) {
        let without = committed.iter().filter(|(_, position)| position.is_none());
        Step::First(without.map(|(partition, _)| *partition).collect())
    } else {
        Step::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_positions_are_read_on_from() {
        let committed = [(0, Some(5)), (1, Some(7)), (2, None)];
        assert_eq!(decide(&committed, &[1]), Step::Go(vec![(1, Some(7))]));
        assert_eq!(
            decide(&[(0, None), (1, Some(7))], &[1]),
            Step::Go(vec![(1, Some(7))])
        );
    }

    #[test]
    fn a_partition_without_position_is_new_once_partition_0_has_one() {
        let committed = [(0, Some(5)), (1, None)];
        assert_eq!(decide(&committed, &[1]), Step::Go(vec![(1, None)]));
    }

    #[test]
    fn the_first_start_of_all_is_fixed_by_the_owner_of_partition_0() {
        let none = [(0, None), (1, None), (2, None)];
        assert_eq!(decide(&none, &[0, 2]), Step::First(vec![0, 1, 2]));
        assert_eq!(decide(&none, &[1]), Step::Wait);
        let some = [(0, None), (1, Some(3)), (2, None)];
        assert_eq!(
            decide(&some, &[0]),
            Step::First(vec![0, 2]),
            "what is there stays"
        );
    }
}
