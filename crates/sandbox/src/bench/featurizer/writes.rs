//! The limit of Redis for writes alone: transactions that write hash, TTL and an addition to the window, all packed
//! beforehand.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use redis::ConnectionLike as _;

use super::super::rates::Measured;
use crate::harness::Scene;

/// Users in a transaction, as in the featurizer's.
const STEP: u32 = 400;
/// Connections, as many as two workers have.
const CONNECTIONS: u32 = 2;
/// The bytes that an event adds to a stored window.
const ADDITION: [u8; 46] = [7; 46];

/// Writes users for `look`; each write counts as one event.
pub(super) fn packed(scene: &Scene, users: u32, look: Duration) -> Result<Measured> {
    let prefix = format!("writes:{}", scene.names.key_prefix);
    let share = users / CONNECTIONS;
    let mut all = Vec::new();
    for connection in 0..CONNECTIONS {
        let own = connection * share..(connection + 1) * share;
        let firsts = own.clone().step_by(STEP as usize);
        let steps: Vec<(usize, Vec<u8>)> = firsts
            .map(|first| step(&prefix, first..(first + STEP).min(own.end)))
            .collect();
        all.push((scene.redis()?, steps));
    }
    let start = Instant::now();
    let threads = all.into_iter().map(|(mut redis, steps)| {
        thread::spawn(move || -> Result<u64> {
            let mut written = 0;
            for (users, step) in steps.iter().cycle() {
                // MULTI, three commands per user and EXEC, each with an answer; that of EXEC contains the answers of
                // all others.
                redis.req_packed_commands(step, 1 + 3 * users, 1)?;
                written += *users as u64;
                if start.elapsed() >= look {
                    break;
                }
            }
            Ok(written)
        })
    });
    let threads: Vec<_> = threads.collect();
    let mut written = 0;
    for thread in threads {
        written += thread.join().ok().context("a writer panicked")??;
    }
    Ok(Measured::since(start, written))
}

/// A packed transaction, and the number of users that it writes.
fn step(prefix: &str, users: std::ops::Range<u32>) -> (usize, Vec<u8>) {
    let count = users.len();
    let mut pipe = redis::pipe();
    pipe.atomic();
    for user in users {
        let amount = f64::from(user) / 100.0;
        pipe.cmd("HSET")
            .arg(format!("{prefix}features:u_{user:05}"))
            .arg(&[("purchase_count_24h", 40.0), ("total_spend_24h", amount)])
            .arg(&[("avg_purchase_amount", amount / 40.0)])
            .arg(&[("last_purchase_ts", 1_700_000_000.123)])
            .arg(&[
                ("_as_of", 1_700_000_000_123u64),
                ("_valid_until", 1_700_086_400_000),
            ]);
        pipe.cmd("EXPIRE")
            .arg(format!("{prefix}features:u_{user:05}"))
            .arg(172_800);
        pipe.cmd("APPEND")
            .arg(format!("{prefix}window:u_{user:05}"))
            .arg(&ADDITION);
    }
    (count, pipe.get_packed_pipeline())
}
