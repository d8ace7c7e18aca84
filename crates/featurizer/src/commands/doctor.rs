//! `featurizer doctor`: problems of brokers, topic, records, group and Redis, each with a remedy.

use crate::opening;
use crate::settings::Config;
use crate::store::{Door, Keys, Lost, Redis};
use std::process::ExitCode;
use std::time::Duration;
use tidemill_core::claim::is_claim;
use tidemill_core::doctor::{Patient, Report, Seen, examine, redis};
use tidemill_core::kafka::Record;
use tidemill_core::record::user_event::{self, UserRecord};
use tidemill_core::redis_server::Unfit;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

/// Prints the findings; the exit code is 1 if there is a problem.
pub async fn run(
    config: &Config,
    json: bool,
    shutdown: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let definitions = &config.definitions;
    let mut entry = Vec::new();
    let see = |record: &Record<'_>| {
        entry.clear();
        let (key, value) = (record.key(), record.value());
        if is_claim(value) {
            // Its object is not fetched, so the user is unknown.
            return Seen::Usable(None);
        }
        match user_event::decode(definitions, key, value, record.timestamp(), &mut entry) {
            Ok(UserRecord::Event { user, .. } | UserRecord::Erasure { user }) => {
                Seen::Usable(Some(user.into_owned()))
            }
            Err(reject) => Seen::Rejected(reject),
        }
    };
    let patient = Patient {
        shared: &config.shared,
        dead_letters: Some(&config.dead_letter_topic),
        output: None,
        window: u64::try_from(definitions.longest_ms())
            .ok()
            .map(Duration::from_millis),
        by_user: true,
        starts_late: false,
        patience: Duration::ZERO,
        recreated: "nothing: a running featurizer builds its windows anew from the new topic",
        again: "featurizer rebuild has the windows' stretch read again",
    };
    let mut report = Report::default();
    for doubt in definitions.doubts() {
        report.warning(
            "features",
            doubt,
            "change --features, unless it is meant so",
        );
    }
    let log = examine(&patient, see, &shutdown, &mut report).await;
    let partitions: Vec<i32> = log.iter().map(|lag| lag.partition).collect();
    block_in_place(|| store(config, &partitions, &mut report));
    report.print(json)
}

fn store(config: &Config, partitions: &[i32], report: &mut Report) {
    if let Err(Lost(error)) = ask(config, partitions, report) {
        let remedy = config.redis.verdict(&error).remedy;
        report.problem("redis", format!("{}: {error}", config.redis), remedy);
    }
}

fn ask(config: &Config, partitions: &[i32], report: &mut Report) -> Result<(), Lost> {
    let mut store = Redis::new(&config.redis).map_err(|error| Lost(format!("{error:#}")))?;
    let address = config.redis.to_string();
    let text = |answer: Vec<Vec<u8>>| String::from_utf8_lossy(&answer.concat()).into_owned();
    store.connect()?;
    match store.command(&["INFO"]) {
        Ok(info) => {
            redis::judge(&address, &text(info), report);
            // Memory may be full, or the disk: then Redis reads and does not write.
            opening::try_out(&mut store, config)?;
        }
        Err(Lost(error)) if error.starts_with("NOPERM") => {
            store.connect()?;
            untold(&mut store, config, report)?;
        }
        Err(lost) => return Err(lost),
    }
    if let Some(gap) = opening::clock_gap(&mut store)? {
        report.warning("clock", gap, "have both set by NTP");
    }
    let keys = Keys::new(&config.key_prefix, &config.shared.topic);
    let found = text(store.command(&["GET", &keys.owner()])?);
    let own = config.owner();
    let prefix = &config.key_prefix;
    if found.is_empty() {
        report.ok("owner", format!("key prefix {prefix:?} is nobody's yet"));
    } else if found == own {
        report.ok("owner", format!("key prefix {prefix:?} is ours"));
    } else {
        report.problem(
            "owner",
            format!("key prefix {prefix:?} belongs to {found}, and this is {own}"),
            "another --key-prefix, or --takeover",
        );
    }
    for partition in partitions {
        for (key, kind) in [
            (keys.position(*partition), "string"),
            (keys.expiry(*partition), "zset"),
            (keys.rejected(*partition), "hash"),
        ] {
            let found = text(store.command(&["TYPE", &key])?);
            if found != kind && found != "none" {
                report.problem(
                    "keys",
                    format!("{key} holds a {found}, where the featurizer keeps a {kind}: another program wrote it"),
                    "remove the key, or use another --key-prefix",
                );
            }
        }
    }
    Ok(())
}

/// Checks a Redis whose user may not call INFO, by trying it out.
fn untold(store: &mut Redis, config: &Config, report: &mut Report) -> Result<(), Lost> {
    match opening::try_out(store, config)? {
        Some(Unfit { reason, remedy }) => {
            report.problem("redis", format!("{}: {reason}", config.redis), remedy);
        }
        None => report.warning(
            "redis",
            format!("{} answers and can keep features; it does not tell its memory limit and eviction policy", config.redis),
            "let the user of --redis-url use INFO, or make sure that maxmemory-policy is noeviction",
        ),
    }
    Ok(())
}
