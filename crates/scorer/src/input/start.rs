//! Looks up the positions of assigned partitions: the committed ones, or on a group's first start those that `--start`
//! names, which it commits at once.
//!
//! A first start must be told from a partition added later, which is read from its beginning. So
//! the owner of partition 0 commits the start of all partitions in one request, and the others wait
//! for it: once partition 0 has a position, a partition without one is new.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tidemill_core::kafka::{
    Consumer, Log, LogFit, LogRange, StoredPosition, TopicId, in_words, is_timeout, numbers, places,
};
use tokio_util::sync::CancellationToken;

use super::first;
use crate::settings::{Config, Start};

/// Pause between two looks at the committed positions.
const WAIT: Duration = Duration::from_millis(100);

/// Time limit for one look at the committed positions. The look-up repeats it until it has an answer; a partition can be
/// revoked, and the process stopped, only between two looks.
const ANSWER: Duration = Duration::from_secs(2);

/// The next step for assigned partitions.
#[derive(Debug, PartialEq)]
enum Step {
    /// Read on at these positions; partitions without one from the log's start.
    Go(Vec<(i32, Option<StoredPosition<u64>>)>),
    /// The group starts for the first time: commit `--start` for these partitions.
    First(Vec<i32>),
    /// Another member is about to commit the first start.
    Wait,
}

/// The beginning of a partition's reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Begin {
    /// The partition.
    pub partition: i32,
    /// Its position, and what is known of the log.
    pub position: StoredPosition<u64>,
}

impl Begin {
    /// The first offset to read: the record before the position tells if the log is still the same.
    pub fn reads_from(&self) -> i64 {
        let StoredPosition { next, last, .. } = self.position;
        next - i64::from(last.is_some() && next > 0)
    }
}

/// The input of a look-up.
pub struct Question<'q> {
    /// The partitions.
    pub assigned: &'q [i32],
    /// The number of the topic's partitions when the process started.
    pub count: usize,
    /// The flags.
    pub config: &'q Config,
    /// Kafka's id of the topic when the process started.
    pub topic: Option<TopicId>,
    /// Fingerprints of records that were found before a position, and are not those that had been read there.
    pub found: &'q BTreeMap<i32, u64>,
}

/// The result of a look-up.
#[derive(Debug, Default)]
pub struct Found {
    /// The beginnings of the partitions that the topic has.
    pub begins: Vec<Begin>,
    /// The partitions that the topic does not have any more.
    pub absent: Vec<i32>,
}

/// The answer to `question`; `None` if stopped before it was found. Outlasts an outage.
pub fn positions(
    consumer: &Consumer,
    question: &Question<'_>,
    shutdown: &CancellationToken,
) -> Option<Found> {
    let mut said = String::new();
    while !shutdown.is_cancelled() {
        match attempt(consumer, question, shutdown) {
            Ok(Some(found)) => return Some(found),
            Ok(None) => {}
            Err(_) if shutdown.is_cancelled() => {}
            Err(error) => {
                let text = in_words(&error);
                if text != said {
                    let partitions = numbers(question.assigned);
                    match is_timeout(&error) {
                        true => tracing::info!(
                            partitions,
                            "looking up where to read: {text}; while the transaction of a killed scorer is open they do \
                             not tell, up to 20 s, which a lasting --instance avoids"
                        ),
                        false => tracing::warn!(partitions, "looking up where to read: {text}"),
                    }
                    said = text;
                }
            }
        }
        std::thread::sleep(WAIT);
    }
    None
}

fn attempt(
    consumer: &Consumer,
    question: &Question<'_>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<Found>> {
    let present = consumer.partition_count()?;
    ensure!(present > 0, "there is no such topic now");
    let is_here = |partition: &i32| *partition < present;
    let (assigned, absent): (Vec<i32>, Vec<i32>) =
        question.assigned.iter().partition(|id| is_here(id));
    let Some(highest) = assigned.iter().max() else {
        let begins = Vec::new();
        return Ok(Some(Found { begins, absent }));
    };
    let assigned = assigned.as_slice();
    let known = (highest + 1).max(question.count as i32);
    let all: Vec<i32> = (0..known.min(present)).collect();
    // Brokers may withhold the positions of other members' partitions, which matter only to partitions without one.
    let mut committed = consumer.committed_positions(assigned, ANSWER)?;
    if committed.iter().any(|(_, position)| position.is_none()) {
        committed = consumer.committed_positions(&all, ANSWER)?;
    }
    let topic = consumer.topic_id()?;
    match decide(&committed, assigned) {
        Step::Go(committed) => {
            let ranges = consumer.log_ranges(assigned)?;
            let begins = committed.into_iter().map(|(partition, position)| {
                let range = ranges.get(&partition);
                let range = *range.with_context(|| format!("no log of partition {partition}"))?;
                let last = question.found.get(&partition).copied();
                let log = Log { topic, range, last };
                begin(consumer, partition, position, log)
            });
            let begins = begins.collect::<anyhow::Result<_>>()?;
            Ok(Some(Found { begins, absent }))
        }
        Step::First(partitions) => {
            let start = first::start(question.config, question.topic, topic, shutdown)?;
            let positions = find(consumer, &partitions, start)?;
            let positions = of_topic(topic, &positions);
            consumer.commit(&positions)?;
            let positions = places(&plain(&positions));
            tracing::info!(%start, positions, "first start of the group");
            Ok(None)
        }
        Step::Wait => Ok(None),
    }
}

/// The beginning of one partition. A position that does not belong to the log that is there now is replaced by the log's
/// start, which is committed at once: so the loss is logged and counted once, whichever member looks next.
fn begin(
    consumer: &Consumer,
    partition: i32,
    position: Option<StoredPosition<u64>>,
    log: Log<u64>,
) -> anyhow::Result<Begin> {
    let Log { topic, range, .. } = log;
    let LogRange { oldest, end } = range;
    let fit = position.map(|position| (position, position.fit(&log)));
    if let Some((position, LogFit::Same)) = fit {
        // The record before the log's oldest is gone.
        let last = position.last.filter(|_| position.next > oldest);
        let position = StoredPosition {
            topic,
            last,
            ..position
        };
        return Ok(Begin {
            partition,
            position,
        });
    }
    let position = StoredPosition {
        topic,
        ..oldest.into()
    };
    consumer.commit(&[(partition, position)])?;
    match fit {
        None => tracing::info!(
            partition,
            position = oldest,
            "new partition, read from its start"
        ),
        Some((was, fit)) => {
            let lost = match fit {
                LogFit::Behind(lost) => lost,
                _ => 0,
            };
            metrics::counter!("tidemill_lost_records_total").increment(lost.unsigned_abs());
            let was = was.next;
            tracing::error!(
                partition,
                position = was,
                oldest,
                end,
                lost,
                "{fit}: going on at the log's start"
            );
        }
    }
    Ok(Begin {
        partition,
        position,
    })
}

/// Offsets as positions in the topic of that id.
pub fn of_topic(topic: Option<TopicId>, offsets: &[(i32, i64)]) -> Vec<(i32, StoredPosition<u64>)> {
    let position = |next: i64| StoredPosition {
        topic,
        ..next.into()
    };
    let offsets = offsets.iter();
    offsets
        .map(|(partition, next)| (*partition, position(*next)))
        .collect()
}

fn plain(positions: &[(i32, StoredPosition<u64>)]) -> Vec<(i32, i64)> {
    let positions = positions.iter();
    positions
        .map(|(partition, position)| (*partition, position.next))
        .collect()
}

/// The offset of `start` in each of the partitions.
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
    let ranges = consumer.log_ranges(partitions)?.into_iter();
    let position = |(partition, log): (i32, LogRange)| match start {
        Start::Earliest => (partition, log.oldest),
        _ => (partition, log.end),
    };
    Ok(ranges.map(position).collect())
}

fn decide(committed: &[(i32, Option<StoredPosition<u64>>)], assigned: &[i32]) -> Step {
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

    fn at(next: i64) -> Option<StoredPosition<u64>> {
        Some(next.into())
    }

    #[test]
    fn the_record_before_a_position_is_read_where_it_is_known() {
        for (last, next, expected) in [(None, 5, 5), (Some(1), 5, 4), (Some(1), 0, 0)] {
            let position = StoredPosition {
                last,
                ..next.into()
            };
            let partition = 0;
            let begin = Begin {
                partition,
                position,
            };
            assert_eq!(begin.reads_from(), expected);
        }
    }

    #[test]
    fn committed_positions_are_read_on_from() {
        let committed = [(0, at(5)), (1, at(7)), (2, None)];
        assert_eq!(decide(&committed, &[1]), Step::Go(vec![(1, at(7))]));
        assert_eq!(
            decide(&[(0, None), (1, at(7))], &[1]),
            Step::Go(vec![(1, at(7))])
        );
    }

    #[test]
    fn a_partition_without_position_is_new_once_partition_0_has_one() {
        let committed = [(0, at(5)), (1, None)];
        assert_eq!(decide(&committed, &[1]), Step::Go(vec![(1, None)]));
    }

    #[test]
    fn the_first_start_of_all_is_fixed_by_the_owner_of_partition_0() {
        let none = [(0, None), (1, None), (2, None)];
        assert_eq!(decide(&none, &[0, 2]), Step::First(vec![0, 1, 2]));
        assert_eq!(decide(&none, &[1]), Step::Wait);
        let some = [(0, None), (1, at(3)), (2, None)];
        assert_eq!(
            decide(&some, &[0]),
            Step::First(vec![0, 2]),
            "what is there stays"
        );
    }
}
