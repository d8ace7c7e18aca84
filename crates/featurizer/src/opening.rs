//! Redis at the start of a process: waited for, made sure to be ours, and watched from then on.

use crate::settings::Config;
use crate::store::{Keys, Lost, Ownership, Redis, own};
use std::sync::Arc;
use tidemill_core::exit::Failure;
use tidemill_core::health::Health;
use tidemill_core::pulse::{self, ANSWER, LIMIT};
use tokio_util::sync::CancellationToken;

/// Waits for Redis, and makes sure that the key prefix is ours.
pub(crate) fn check_store(config: &Config, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let mut redis = Redis::new(&config.redis)?;
    let timeout = config.shared.connect_timeout;
    let stopped = || shutdown.is_cancelled();
    redis.connect_within(timeout, stopped).map_err(|error| {
        let (error, address) = (error.0, &config.redis);
        let hint = address.hint(&error);
        Failure::unreachable(format!(
            "no Redis at {address} answered within {timeout:?}: {error}; {hint}"
        ))
    })?;
    let keys = Keys::new(&config.key_prefix, &config.shared.topic);
    match own(&mut redis, &keys, &config.owner(), config.takeover)? {
        Ownership::Ours => Ok(()),
        Ownership::Taken { from } => {
            tracing::warn!(from, "took the key prefix over");
            Ok(())
        }
        Ownership::Foreign(owner) => Err(foreign(config, &owner)),
    }
}

/// The prefix belongs to somebody else.
pub(crate) fn foreign(config: &Config, owner: &str) -> anyhow::Error {
    Failure::usage(format!(
        "--key-prefix {:?} belongs to {owner}, and this is {}: use another --key-prefix, or --takeover to take \
         this one over",
        config.key_prefix,
        config.owner()
    ))
}

/// Keeps the part `redis` of `health` until `shutdown`: unready while Redis has not answered for a while.
pub(crate) fn watch_store(
    config: &Config,
    health: &Arc<Health>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut redis = Redis::new(&config.redis)?.answering_within(ANSWER);
    let part = health.pulse("redis", "answer from Redis", LIMIT);
    pulse::keep(part, shutdown, move || {
        let asked = if redis.connected() {
            Ok(())
        } else {
            redis.connect()
        };
        let answered = asked.and_then(|()| redis.command(&["PING"]));
        answered.map(drop).map_err(|Lost(error)| error)
    })
}
