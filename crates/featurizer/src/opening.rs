//! Redis at the start and afterwards: waits for it, examines it, claims the key prefix, and watches it from then on.

use crate::settings::Config;
use crate::store::{Door, Keys, Lost, Ownership, Redis, own};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_core::clock::now_ms;
use tidemill_core::exit::Failure;
use tidemill_core::health::{Health, Part};
use tidemill_core::pulse::{self, ANSWER, LIMIT};
use tidemill_core::redis_server::{self, Unfit};
use tidemill_core::redis_verdict::Meaning;
use tidemill_core::settings::duration_text;
use tokio_util::sync::CancellationToken;

/// Pause between two attempts to reach Redis.
const RETRY: Duration = Duration::from_millis(100);

/// Time after which a wait is logged.
const SILENT: Duration = Duration::from_secs(1);

/// Connects to a Redis that can keep features; waits for it up to the connect timeout, which the part `start` tells.
/// `None` if `shutdown` came first.
pub(crate) fn open(
    config: &Config,
    start: Option<&Part>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<Redis>> {
    let (access, timeout) = (&config.redis, config.shared.connect_timeout);
    let mut redis = Redis::new(access)?;
    let begun = Instant::now();
    let mut told = String::new();
    while let Err(Lost(error)) = greet(&mut redis, config) {
        let passing = access.verdict(&error).meaning == Meaning::Passing;
        if shutdown.is_cancelled() {
            return Ok(None);
        }
        if !passing {
            return Err(access.failure(&error));
        }
        if begun.elapsed() >= timeout {
            return Err(access.failure(&format!("{error} (tried for {})", duration_text(timeout))));
        }
        if begun.elapsed() >= SILENT && error != told {
            if let Some(start) = start {
                start.unready(format!("waiting for Redis at {access}: {error}"));
            }
            let limit = duration_text(timeout);
            tracing::warn!("waiting for Redis at {access}, for up to {limit}: {error}");
            told = error;
        }
        std::thread::sleep(RETRY);
    }
    let failure = |Lost(error)| access.failure(&error);
    if let Some(Unfit { reason, remedy }) = examine(&mut redis, config).map_err(failure)? {
        return Err(Failure::unreachable(format!(
            "Redis at {access}: {reason}; {remedy}"
        )));
    }
    if let Some(gap) = clock_gap(&mut redis).map_err(failure)? {
        tracing::warn!(redis = %access, "{gap}: set both by NTP");
    }
    Ok(Some(redis))
}

/// Connects, and reads the key that every use of the prefix needs.
fn greet(redis: &mut Redis, config: &Config) -> Result<(), Lost> {
    let owner = keys(config).owner();
    redis.connect()?;
    redis.command(&["GET", &owner]).map(drop)
}

/// The reason why this Redis cannot keep features, if any. Tries it out if the user may not call INFO.
pub(crate) fn examine(redis: &mut Redis, config: &Config) -> Result<Option<Unfit>, Lost> {
    match redis.command(&["INFO"]) {
        Ok(info) => Ok(redis_server::unfit(&String::from_utf8_lossy(
            &info.concat(),
        ))),
        Err(Lost(error)) if error.starts_with("NOPERM") => {
            redis.connect()?;
            try_out(redis, config)
        }
        Err(lost) => Err(lost),
    }
}

/// Does on two keys of our own what every transaction does: two writes with a TTL in one MULTI/EXEC. In cluster mode
/// the keys are in two slots, which Redis refuses.
pub(crate) fn try_out(redis: &mut Redis, config: &Config) -> Result<Option<Unfit>, Lost> {
    let [one, two] = ["probe:1", "probe:2"].map(|name| format!("{}{name}", config.key_prefix));
    let in_an_hour = (now_ms() + 3_600_000).to_string();
    redis.command(&["MULTI"])?;
    for key in [&one, &two] {
        redis.command(&["SET", key, "", "PXAT", &in_an_hour])?;
    }
    let done = redis.command(&["EXEC"])?;
    redis.command(&["DEL", &one, &two])?;
    let done = done.iter().filter(|answer| *answer == b"OK").count();
    Ok((done < 2).then(|| redis_server::too_old("it")))
}

/// The gap between this machine's clock and Redis's, if it is too large; `None` also if the user may not call TIME.
pub(crate) fn clock_gap(redis: &mut Redis) -> Result<Option<String>, Lost> {
    let asked = now_ms();
    let time = match redis.command(&["TIME"]) {
        Err(Lost(error)) if error.starts_with("NOPERM") => return redis.connect().map(|()| None),
        time => time?,
    };
    let number = |text: &Vec<u8>| String::from_utf8_lossy(text).parse::<i64>().ok();
    let seconds = time.first().and_then(number);
    Ok(seconds.and_then(|seconds| redis_server::clock_gap(seconds * 1000, asked, now_ms())))
}

/// Waits for Redis and claims the key prefix; breaks if `shutdown` came first.
pub(crate) fn claim_prefix(
    config: &Config,
    start: &Part,
    shutdown: &CancellationToken,
) -> anyhow::Result<ControlFlow<()>> {
    let Some(mut redis) = open(config, Some(start), shutdown)? else {
        return Ok(ControlFlow::Break(()));
    };
    let owned = own(&mut redis, &keys(config), &config.owner(), config.takeover);
    match owned.map_err(|Lost(error)| config.redis.failure(&error))? {
        Ownership::Ours => {}
        Ownership::Taken { from } => tracing::warn!(from, "took the key prefix over"),
        Ownership::Foreign(owner) => return Err(foreign(&owner, &config.owner())),
    }
    Ok(ControlFlow::Continue(()))
}

/// The error for a prefix that belongs to another owner.
pub(crate) fn foreign(owner: &str, own: &str) -> anyhow::Error {
    Failure::usage(format!(
        "the key prefix belongs to {owner}, and this is {own}: use another --key-prefix, or --takeover to take this \
         one over"
    ))
}

/// Keeps the part `redis` of `health` until `shutdown`: unready while Redis has not answered for a while.
pub(crate) fn watch(
    config: &Config,
    health: &Arc<Health>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut redis = Redis::new(&config.redis)?.answering_within(ANSWER);
    let owner = keys(config).owner();
    let part = health.pulse("redis", "answer from Redis", LIMIT);
    pulse::keep(part, shutdown, move || {
        let connected = if redis.is_connected() {
            Ok(())
        } else {
            redis.connect()
        };
        let answered = connected.and_then(|()| redis.command(&["GET", &owner]));
        answered.map(drop).map_err(|Lost(error)| error)
    })
}

fn keys(config: &Config) -> Keys {
    Keys::new(&config.key_prefix, &config.shared.topic)
}
