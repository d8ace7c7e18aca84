//! An independent load on the same broker: a stream of payments that nobody scores, and a reader of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Result, anyhow};

use super::{live, payments};
use crate::oracle::Watch;
use crate::stack::Stack;

/// Payments a second of the load.
pub(super) const RATE: u64 = 5_000;

/// Runs `work` beside that load.
pub(super) fn beside<T>(stack: &Stack, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let scene = live::scene(stack)?;
    let stop = AtomicBool::new(false);
    let _reader = Watch::start(&scene.brokers, &scene.names.transactions)?;
    thread::scope(|scope| {
        let load = scope.spawn(|| payments::stream(&scene, RATE, &stop));
        let found = work();
        stop.store(true, Ordering::Relaxed);
        let sent = load.join();
        sent.map_err(|_| anyhow!("the load panicked"))??;
        found
    })
}
