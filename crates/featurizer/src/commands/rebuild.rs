//! `featurizer rebuild`: has the stored windows built again from the topic.

use crate::assignment::{Cause, Known, Present, resume};
use crate::opening;
use crate::settings::Config;
use crate::store::{Again, Keys, Lost, Position, Redis};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidemill_core::exit::Failure;
use tidemill_core::kafka::Cluster;
use tidemill_core::printing::tell;
use tidemill_core::progress::bar;
use tidemill_core::{remark_line, tell_line};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// Pause between two looks at the progress.
const LOOK: Duration = Duration::from_millis(200);

/// Time after which a waiting command reports that nobody builds.
const LONELY: Duration = Duration::from_secs(3);

/// The partitions to rebuild, and the manner.
#[derive(Clone, Copy, Debug)]
pub struct Rebuild {
    /// Only this partition and those that share users with it.
    pub partition: Option<i32>,
    /// Say what would be rebuilt, and change nothing.
    pub dry_run: bool,
    /// Return once the windows are built.
    pub wait: bool,
}

/// Deletes the position of one partition or of all, and of those that a rebuild includes. A worker that holds the
/// partition notices at its next transaction, and a featurizer that starts later when it attaches the partition:
/// without a position, windows are built from the log.
pub async fn run(
    config: &Config,
    rebuild: Rebuild,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let shared = &config.shared;
    let cluster = Cluster::connect(&shared.kafka, shared.connect_timeout, &shutdown).await?;
    let Some(count) = cluster.partitions(&shared.topic)? else {
        return Err(Failure::usage(format!(
            "--topic {}: there is no such topic",
            shared.topic
        )));
    };
    let count = i32::try_from(count)?;
    let partitions = match rebuild.partition {
        Some(one) if (0..count).contains(&one) => one..one + 1,
        Some(one) => {
            let last = count - 1;
            return Err(Failure::usage(format!(
                "--partition {one}: use 0 to {last}"
            )));
        }
        None => 0..count,
    };
    block_in_place(|| {
        let Some(mut redis) = opening::open(config, None, &shutdown)? else {
            return Ok(());
        };
        let failure = |Lost(error)| config.redis.failure(&error);
        let keys = Keys::new(&config.key_prefix, &shared.topic);
        let owner = redis.command(&["GET", &keys.owner()]).map_err(failure)?;
        let owner = owner.concat();
        let owner = String::from_utf8_lossy(&owner);
        if !owner.is_empty() && owner != config.owner() {
            return Err(opening::foreign(&owner, &config.owner()));
        }
        let all = taken_along(&mut redis, &keys, partitions.clone(), count).map_err(failure)?;
        if all.len() > partitions.len() {
            tell_line!("partitions share users, which cannot be built from one of them alone")?;
        }
        if rebuild.dry_run {
            return tell(&lines(&all, &shared.topic, "would be built anew"));
        }
        // All in one DEL, so that the worker that first misses a position decides about all of them.
        let mut words = vec!["DEL".to_owned()];
        words.extend(all.iter().map(|partition| keys.position(*partition)));
        redis.command(&words).map_err(failure)?;
        tell(&lines(&all, &shared.topic, "will be built anew"))?;
        if rebuild.wait {
            wait(&mut redis, &keys, &all, &shutdown).map_err(failure)?;
        }
        Ok(())
    })
}

fn lines(partitions: &[i32], topic: &str, what: &str) -> String {
    let lines = partitions.iter();
    let lines = lines.map(|partition| format!("partition {partition} of {topic} {what}\n"));
    lines.collect()
}

/// Waits until featurizers have built the windows of these partitions, or until stopped.
fn wait(
    redis: &mut Redis,
    keys: &Keys,
    partitions: &[i32],
    shutdown: &CancellationToken,
) -> Result<(), Lost> {
    let bar = bar(0, "building");
    let begun = Instant::now();
    let mut said = false;
    while !shutdown.is_cancelled() {
        let mut progress = Progress::default();
        for partition in partitions {
            let stored = redis
                .command(&["GET", &keys.position(*partition)])?
                .concat();
            progress.add(String::from_utf8_lossy(&stored).parse().ok().as_ref());
        }
        if progress.is_complete() {
            break;
        }
        if progress.begun == 0 && !said && begun.elapsed() >= LONELY {
            said = true;
            remark_line!(
                "no featurizer has begun yet: waiting for one that runs with this group and prefix"
            );
        }
        bar.set_length(progress.all);
        bar.set_position(progress.done);
        std::thread::sleep(LOOK);
    }
    bar.finish_and_clear();
    if shutdown.is_cancelled() {
        remark_line!("stopped waiting; the windows are built all the same");
    }
    Ok(())
}

/// The progress of a rebuild, in partitions and in offsets.
#[derive(Debug, Default, PartialEq)]
struct Progress {
    partitions: usize,
    begun: usize,
    complete: usize,
    done: u64,
    all: u64,
}

impl Progress {
    /// Adds a partition; without a position nobody has begun.
    fn add(&mut self, position: Option<&Position>) {
        self.partitions += 1;
        let Some(position) = position else { return };
        self.begun += 1;
        let begin = position.building.begin;
        let applied = position.applied();
        let until = position.warm_until.unwrap_or(applied);
        self.all += until.abs_diff(begin);
        self.done += applied.min(until).abs_diff(begin);
        let warm = position.warm_until.is_none() && position.again != Again::Due;
        self.complete += usize::from(warm && !position.unswept);
    }

    fn is_complete(&self) -> bool {
        self.complete == self.partitions
    }
}

/// The partitions asked for, and those that a rebuild of these includes.
fn taken_along(
    redis: &mut Redis,
    keys: &Keys,
    asked: std::ops::Range<i32>,
    count: i32,
) -> Result<Vec<i32>, Lost> {
    let mut known = BTreeMap::new();
    for partition in 0..count {
        let stored = redis.command(&["GET", &keys.position(partition)])?.concat();
        let own = Known {
            stored: String::from_utf8_lossy(&stored).parse().ok(),
            cause: asked.contains(&partition).then_some(Cause::NoPosition),
            ..Known::default()
        };
        known.insert(partition, own);
    }
    let present = Present {
        definitions: "",
        topic: None,
    };
    Ok(resume(&known, present).into_keys().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Building, Token};

    #[test]
    fn a_rebuild_is_complete_once_every_partition_is_warm_and_swept() {
        let position = |offset, warm_until, unswept, again| Position {
            offset,
            token: Token {
                instance: 1,
                count: 1,
            },
            building: Building {
                epoch: 1,
                incarnation: 1,
                begin: 10,
                definitions: String::new(),
                topic: None,
            },
            last: None,
            warm_until,
            complete_from: None,
            mixed: false,
            unswept,
            again,
            shown: None,
        };
        for (stored, expected) in [
            (None, (0, 0, 0, 0)),
            (
                Some(position(30, Some(110), true, Again::No)),
                (1, 0, 20, 100),
            ),
            (Some(position(110, None, true, Again::No)), (1, 0, 100, 100)),
            (
                Some(position(110, None, false, Again::Due)),
                (1, 0, 100, 100),
            ),
            (
                Some(position(120, None, false, Again::Done)),
                (1, 1, 110, 110),
            ),
        ] {
            let mut found = Progress::default();
            found.add(stored.as_ref());
            let Progress {
                begun,
                complete,
                done,
                all,
                ..
            } = found;
            assert_eq!((begun, complete, done, all), expected, "{stored:?}");
            assert_eq!(found.is_complete(), complete == 1);
        }
    }
}
