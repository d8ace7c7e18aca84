//! Judges a Redis as a feature store by its answer to `INFO`.

use super::Report;
use crate::redis_server::{Unfit, field, name, unfit};

/// A Redis that uses more than this share of its limit is nearly full.
const FULL: f64 = 0.8;

/// Judges the answer to `INFO`.
pub fn judge(address: &str, info: &str, report: &mut Report) {
    let find = |name: &str| field(info, name);
    let number = |name: &str| find(name).and_then(|value| value.parse::<f64>().ok());
    if find("role").is_some_and(|role| role != "master") {
        report.problem(
            "redis",
            format!("{address} is a replica: it refuses writes, and what it serves is late"),
            "give the primary's address in --redis-url",
        );
    } else if let Some(Unfit { reason, remedy }) = unfit(info) {
        report.problem("redis", format!("{address}: {reason}"), remedy);
    } else {
        report.ok("redis", format!("{} answers at {address}", name(info)));
    }
    let limit = number("maxmemory").filter(|limit| *limit > 0.0);
    match (find("maxmemory_policy"), limit) {
        (Some("noeviction"), _) => {}
        (Some(policy), limit) => {
            let text = format!(
                "maxmemory-policy is {policy}: when memory is short Redis forgets users, and their features are \
                 wrong until they are built anew"
            );
            let remedy = "config set maxmemory-policy noeviction";
            match limit {
                Some(_) => report.problem("eviction", text, remedy),
                None => report.warning("eviction", text, remedy),
            }
        }
        (None, _) => report.warning(
            "eviction",
            "maxmemory-policy is not told",
            "make sure that it is noeviction",
        ),
    }
    let used = number("used_memory").unwrap_or_default();
    let megabytes = |bytes: f64| format!("{:.0} MB", bytes / 1_048_576.0);
    match limit {
        Some(limit) if used > FULL * limit => report.warning(
            "memory",
            format!(
                "{} of {} used: writes fail at the limit",
                megabytes(used),
                megabytes(limit)
            ),
            "raise maxmemory, or shorten ttl_s or windows",
        ),
        Some(limit) => report.ok(
            "memory",
            format!("{} of {} used", megabytes(used), megabytes(limit)),
        ),
        None => report.ok("memory", format!("{} used, no maxmemory", megabytes(used))),
    }
    if ["rdb_last_bgsave_status", "aof_last_write_status"]
        .iter()
        .any(|status| find(status) == Some("err"))
    {
        report.problem(
            "persistence",
            "Redis could not save its data the last time, and refuses writes (MISCONF) until it can, unless told otherwise",
            "see its log and its disk",
        );
    }
    if find("aof_enabled") == Some("0") {
        report.warning(
            "persistence",
            "no append-only file: after a restart of Redis all windows are built anew from the topic",
            "set appendonly yes, unless that wait is acceptable",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn judged(info: &str) -> Vec<(&'static str, Level)> {
        let mut report = Report::default();
        judge("here:1", info, &mut report);
        report
            .findings
            .iter()
            .map(|one| (one.check, one.level))
            .collect()
    }

    #[test]
    fn eviction_memory_role_and_persistence() {
        let sound = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\nused_memory:1000\r\nmaxmemory:0\r\n\
                     maxmemory_policy:noeviction\r\naof_enabled:1\r\n";
        assert_eq!(judged(sound), [("redis", Level::Ok), ("memory", Level::Ok)]);
        let evicting = sound.replace("noeviction", "allkeys-lru");
        assert!(judged(&evicting).contains(&("eviction", Level::Warning)));
        let bounded = evicting.replace("maxmemory:0", "maxmemory:1100");
        assert!(judged(&bounded).contains(&("eviction", Level::Problem)));
        assert!(judged(&bounded).contains(&("memory", Level::Warning)));
        let replica = sound.replace("role:master", "role:slave");
        assert_eq!(judged(&replica)[0], ("redis", Level::Problem));
        for unfit in [
            sound.replace("7.0.15", "6.0.16"),
            format!("{sound}cluster_enabled:1\r\n"),
        ] {
            assert_eq!(judged(&unfit)[0], ("redis", Level::Problem));
        }
        for status in ["rdb_last_bgsave_status", "aof_last_write_status"] {
            let failing = format!("{sound}{status}:err\r\n");
            assert!(judged(&failing).contains(&("persistence", Level::Problem)));
        }
        let fleeting = sound.replace("aof_enabled:1", "aof_enabled:0");
        assert!(judged(&fleeting).contains(&("persistence", Level::Warning)));
    }
}
