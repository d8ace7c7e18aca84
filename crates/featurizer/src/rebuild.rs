//! `featurizer rebuild`: has the stored windows built anew from the topic.

use crate::opening;
use crate::position::Position;
use crate::settings::Config;
use crate::store::{Keys, Lost, Redis};
use std::collections::BTreeSet;
use tidemill_core::exit::Failure;
use tidemill_core::kafka::Cluster;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// Deletes the position of one partition or of all. The worker that holds it notices at its next step, and a
/// featurizer that starts later at its claim: without a position, windows are built from the log. A partition that
/// shares users with others takes these with it.
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
        let Some(mut redis) = opening::open(config, &shutdown)? else {
            return Ok(());
        };
        let failure = |Lost(error)| config.redis.failure(&error);
        let keys = Keys::new(&config.key_prefix, &shared.topic);
        let owner = redis.command(&["GET", &keys.owner()]).map_err(failure)?;
        let owner = owner.concat();
        let owner = String::from_utf8_lossy(&owner);
        if !owner.is_empty() && owner != config.owner() {
            return Err(opening::foreign(config, &owner));
        }
        let all = with_mixed(&mut redis, &keys, partitions.clone(), count).map_err(failure)?;
        if all.len() > partitions.len() {
            println!("partitions share users, which cannot be built anew from one of them alone");
        }
        // All at once: a user found in two partitions must not be built from the one on top of the other's old state.
        let mut words = vec!["DEL".to_owned()];
        words.extend(all.iter().map(|partition| keys.position(*partition)));
        redis.command(&words).map_err(failure)?;
        for partition in all {
            println!(
                "partition {partition} of {} will be built anew",
                shared.topic
            );
        }
        Ok(())
    })
}

/// The partitions asked for; with the first that shares users with others, all that do.
fn with_mixed(
    redis: &mut Redis,
    keys: &Keys,
    asked: std::ops::Range<i32>,
    count: i32,
) -> Result<BTreeSet<i32>, Lost> {
    let mut mixed = BTreeSet::new();
    for partition in 0..count {
        let stored = redis.command(&["GET", &keys.position(partition)])?.concat();
        let stored = String::from_utf8_lossy(&stored).parse::<Position>();
        if stored.is_ok_and(|position| position.mixed) {
            mixed.insert(partition);
        }
    }
    let mut all: BTreeSet<i32> = asked.collect();
    if !all.is_disjoint(&mixed) {
        all.append(&mut mixed);
    }
    Ok(all)
}
