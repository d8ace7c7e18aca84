//! `featurizer explain`: a user's features with the events behind them, compared with the stored state.

mod print;
mod replay;
mod report;
#[cfg(test)]
mod tests;

use crate::opening;
use crate::settings::Config;
use crate::store::{Keys, Lost, Peek, Position, Redis, peek};
use crate::users::{Erasures, Home, User};
use std::process::ExitCode;
use std::time::Duration;
use tidemill_core::claim::Resolver;
use tidemill_core::clock::now_ms;
use tidemill_core::exit::Failure;
use tidemill_core::features::{Evaluation, Limits, Window};
use tidemill_core::kafka::{Cluster, Consumer};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// Pause between two looks at the store, and their number.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: usize = 100;

/// The three sources that the report compares.
struct Found {
    /// The time of the evaluation (epoch ms).
    at: i64,
    /// True if the evaluation is of the present: the hash has to be there if an event counts.
    present: bool,
    /// The hash's fields; values are compared only if its `_as_of` equals `at`.
    hash: Vec<(String, String)>,
    /// The stored window at `at`, with the events that it is to get at its next checkpoint, unless it holds a newer one.
    stored: Option<Evaluation>,
    /// The replayed records at `at`.
    replayed: Evaluation,
    /// The user's events of the replayed stretch, oldest first.
    events: Vec<replay::Event>,
    /// Start of the replayed stretch (Kafka time, epoch ms).
    since: i64,
    /// Offsets of the stretch that retention deleted while it was read.
    lost: i64,
    /// Windows are stored of other definitions than ours.
    other_definitions: bool,
}

/// Prints values and events on standard output, `shown` says how many of the last events, and if as JSON; exit code 1
/// if the stored state differs from the topic.
pub async fn run(
    config: &Config,
    user: &str,
    at: Option<i64>,
    shown: (usize, bool),
    shutdown: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let shared = &config.shared;
    let cluster = Cluster::connect(&shared.kafka, shared.connect_timeout, &shutdown).await?;
    let Some(partitions) = cluster.partitions(&shared.topic)? else {
        return Err(Failure::usage(format!(
            "--topic {}: there is no such topic",
            shared.topic
        )));
    };
    let resolver = Resolver::open(&shared.claims, &shutdown)?;
    block_in_place(|| {
        let Some(mut redis) = opening::open(config, None, &shutdown)? else {
            return Ok(ExitCode::SUCCESS);
        };
        let partitions = i32::try_from(partitions)?;
        match find(
            config, &mut redis, &resolver, user, at, partitions, &shutdown,
        )? {
            Some(found) => print::print(&config.definitions, user, &found, shown),
            None => {
                tracing::warn!("stopped before the topic was read: nothing is compared");
                Ok(ExitCode::SUCCESS)
            }
        }
    })
}

fn find(
    config: &Config,
    redis: &mut Redis,
    resolver: &Resolver,
    user: &str,
    at: Option<i64>,
    partitions: i32,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<Found>> {
    let definitions = &config.definitions;
    let keys = Keys::new(&config.key_prefix, &config.shared.topic);
    let peek = look(redis, &keys, user, partitions);
    let peek = peek.map_err(|Lost(error)| config.redis.failure(&error))?;
    let own = peek.hash.iter().find(|(name, _)| name == "_as_of");
    let own = own.and_then(|(_, value)| value.parse().ok());
    let present = at.is_none();
    let at = at.or(own).unwrap_or_else(now_ms);

    let mut positions = peek.positions.iter().flatten();
    let other_definitions =
        positions.any(|position| position.building.definitions != definitions.fingerprint());

    let consumer = Consumer::outside(
        &config.shared.kafka,
        &config.shared.group,
        &config.shared.topic,
    )?;
    let since = at.min(now_ms()) - definitions.longest_ms() - crate::assignment::MARGIN_MS;
    let replayed = replay::replay(
        &consumer,
        resolver,
        definitions,
        user,
        since,
        &peek.positions,
        shutdown,
    )?;
    let Some(replay::Replayed { mut events, lost }) = replayed else {
        return Ok(None);
    };
    let stored = peek.window.as_deref();
    let stored = stored
        .and_then(|bytes| User::decode(definitions, &config.limits, bytes, Erasures::default()));
    let stored = stored.and_then(|mut stored| {
        for event in &events {
            let position = peek.positions.get(event.partition as usize);
            if let Some(Some(position)) = position
                && event.offset >= lacks_from(&stored, event.partition, position)
            {
                stored.insert(definitions, &config.limits, &event.entry, event.time);
            }
        }
        let newest = stored.window().newest();
        newest.is_none_or(|newest| newest <= at).then_some(stored)
    });
    let stored = stored.map(|stored| {
        let mut evaluation = Evaluation::default();
        stored.window().evaluate(definitions, at, &mut evaluation);
        evaluation
    });
    let mut window = Window::default();
    events
        .iter()
        .for_each(|event| window.insert(definitions, &event.entry, &Limits::NONE));
    let mut replayed = Evaluation::default();
    window.evaluate(definitions, at, &mut replayed);
    events.sort_by_key(|event| event.time);
    Ok(Some(Found {
        at,
        present,
        hash: peek.hash,
        stored,
        replayed,
        events,
        since,
        lost,
        other_definitions,
    }))
}

/// The stored state of a user, between two batches if there is such a moment soon: while a batch is written, the hash may
/// show it or not.
fn look(redis: &mut Redis, keys: &Keys, user: &str, partitions: i32) -> Result<Peek, Lost> {
    let mut seen = peek(redis, keys, user, partitions)?;
    for _ in 0..LOOKS {
        let mut positions = seen.positions.iter().flatten();
        if positions.all(|position| position.applied() == position.until()) {
            break;
        }
        std::thread::sleep(LOOK);
        seen = peek(redis, keys, user, partitions)?;
    }
    Ok(seen)
}

/// The first offset of a partition whose record a stored window may lack.
fn lacks_from(user: &User, partition: i32, position: &Position) -> i64 {
    let epoch = position.building.epoch;
    let reached = user.reached(Home { partition, epoch });
    reached.max(position.offset)
}
