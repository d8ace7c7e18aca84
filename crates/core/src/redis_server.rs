//! A Redis as it describes itself (`INFO`, `TIME`), and its fitness for features.

/// Gap between the clocks of Redis and this machine that deserves a warning: TTLs and expiries would differ.
const CLOCK_GAP_MS: i64 = 60_000;

/// The reason why a Redis cannot keep features, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The reason, as the end of a sentence about the server.
    pub reason: String,
    /// The remedy, as an instruction.
    pub remedy: &'static str,
}

/// A field of the answer to `INFO`.
pub fn field<'i>(info: &'i str, name: &str) -> Option<&'i str> {
    let mut lines = info.lines().filter_map(|line| line.trim().split_once(':'));
    lines.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The server's name and version.
pub fn name(info: &str) -> String {
    if let Some(version) = field(info, "valkey_version") {
        return format!("Valkey {version}");
    }
    match field(info, "redis_version") {
        Some(version) => format!("Redis {version}"),
        None => "Redis of unknown version".into(),
    }
}

/// The reason why the server with this answer to `INFO` cannot keep features, if there is one.
pub fn unfit(info: &str) -> Option<Unfit> {
    let version = field(info, "redis_version").and_then(version);
    if version.is_some_and(|version| version < (6, 2)) {
        return Some(too_old(&name(info)));
    }
    (field(info, "cluster_enabled") == Some("1")).then(|| Unfit {
        reason: format!(
            "{} runs in cluster mode, which is not supported",
            name(info)
        ),
        remedy: "use a Redis or Valkey with cluster-enabled no",
    })
}

/// The verdict on a server of a version that lacks a needed command.
pub fn too_old(name: &str) -> Unfit {
    Unfit {
        reason: format!("{name} is too old: features need SET with PXAT"),
        remedy: "use Redis 6.2 or later, or Valkey",
    }
}

/// The gap between this machine's clock and that of Redis, in words, if it is more than a minute. Redis had the time
/// `redis_ms` at some moment between `asked_ms` and `answered_ms` of this machine (epoch ms).
pub fn clock_gap(redis_ms: i64, asked_ms: i64, answered_ms: i64) -> Option<String> {
    let (ahead, behind) = (asked_ms - redis_ms, redis_ms - answered_ms);
    let gap = ahead.max(behind);
    let side = if ahead > behind { "ahead of" } else { "behind" };
    (gap > CLOCK_GAP_MS).then(|| {
        format!(
            "this machine's clock is {} s {side} that of Redis",
            gap / 1000
        )
    })
}

fn version(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_and_clusters_are_unfit() {
        let table = [
            ("redis_version:2.8.19\r\n", Some("Redis 2.8.19 is too old")),
            ("redis_version:5.0.7\r\n", Some("Redis 5.0.7 is too old")),
            ("redis_version:6.0.16\r\n", Some("Redis 6.0.16 is too old")),
            ("redis_version:6.2.0\r\ncluster_enabled:0\r\n", None),
            ("redis_version:7.2.4\r\n", None),
            ("redis_version:10.0.0\r\n", None),
            ("redis_version:255.255.255\r\n", None),
            ("redis_version:unstable\r\n", None),
            ("", None),
            (
                "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\n",
                None,
            ),
            (
                "redis_version:7.0.1\r\ncluster_enabled:1\r\n",
                Some("Redis 7.0.1 runs in cluster mode"),
            ),
            (
                "redis_version:7.2.4\r\nvalkey_version:8.1.1\r\ncluster_enabled:1\r\n",
                Some("Valkey 8.1.1 runs in cluster mode"),
            ),
        ];
        for (info, expected) in table {
            let reason = unfit(info).map(|unfit| unfit.reason);
            match expected {
                None => assert_eq!(reason, None, "{info}"),
                Some(begin) => assert!(reason.unwrap().starts_with(begin), "{info}"),
            }
        }
    }

    #[test]
    fn a_clock_is_told_when_it_is_off_by_more_than_a_minute() {
        let table = [
            (1_000_000, 1_000_000, 1_000_010, None),
            (1_000_000, 1_060_000, 1_060_010, None),
            (1_000_000, 1_061_000, 1_062_000, Some("61 s ahead of")),
            (1_000_000, 938_000, 939_000, Some("61 s behind")),
            // A slow answer alone is no gap.
            (1_000_000, 935_000, 1_065_000, None),
        ];
        for (redis, asked, answered, expected) in table {
            let gap = clock_gap(redis, asked, answered);
            match expected {
                None => assert_eq!(gap, None),
                Some(part) => assert!(gap.unwrap().contains(part), "{part}"),
            }
        }
    }
}
