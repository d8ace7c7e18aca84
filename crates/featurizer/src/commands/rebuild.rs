//! `featurizer rebuild`: has the stored windows built again from the topic.

use crate::assignment::{Cause, Known, Present, resume};
use crate::opening;
use crate::settings::Config;
use crate::store::{Keys, Lost, Redis};
use std::collections::BTreeMap;
use tidemill_core::exit::Failure;
use tidemill_core::kafka::Cluster;
use tidemill_core::tell_line;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// Deletes the position of one partition or of all, and of those that a rebuild includes. A worker that holds the
/// partition notices at its next transaction, and a featurizer that starts later when it attaches the partition:
/// without a position, windows are built from the log.
pub async fn run(
    config: &Config,
    partition: Option<i32>,
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
    let partitions = match partition {
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
        // All in one DEL, so that the worker that first misses a position decides about all of them.
        let mut words = vec!["DEL".to_owned()];
        words.extend(all.iter().map(|partition| keys.position(*partition)));
        redis.command(&words).map_err(failure)?;
        for partition in all {
            tell_line!(
                "partition {partition} of {} will be built anew",
                shared.topic
            )?;
        }
        Ok(())
    })
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
