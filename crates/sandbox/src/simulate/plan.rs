//! Writes simulated events: at the pace at which they happen, or as fast as they can be made.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use super::campaign::Kind;
use super::event::Event;
use super::sink::Sink;
use super::traffic::{Settings, Traffic};

/// Names of the three input topics.
#[derive(Clone, Debug)]
pub struct Topics {
    /// Actions of customers.
    pub user_events: String,
    /// Payments.
    pub transactions: String,
    /// Payments whose truth is known.
    pub labeled_events: String,
}

impl Default for Topics {
    fn default() -> Topics {
        Topics {
            user_events: "user-events".to_owned(),
            transactions: "transactions".to_owned(),
            labeled_events: "labeled-events".to_owned(),
        }
    }
}

/// What to write and how fast.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The world.
    pub settings: Settings,
    /// Wait until an event's time has come before writing it; otherwise write as fast as possible.
    pub paced: bool,
}

/// What was written, and what is true about it.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Records in all.
    pub records: u64,
    /// Payments among them.
    pub transactions: u64,
    /// The planted fraud: transaction id to kind.
    pub frauds: BTreeMap<String, Kind>,
}

/// Writes the plan's events to `sink` until they end or `shutdown` is cancelled; `bar` counts payments.
pub fn run(
    plan: &Plan,
    sink: &mut Sink,
    bar: &ProgressBar,
    shutdown: &CancellationToken,
) -> Result<Written> {
    let mut written = Written::default();
    let mut buffer = Vec::new();
    let count = plan.settings.count;
    for happening in Traffic::new(plan.settings.clone()) {
        if shutdown.is_cancelled() {
            break;
        }
        // Once all payments are made only labels are outstanding: nobody should wait for those.
        if plan.paced && written.transactions < count {
            bar.set_position(written.transactions);
            wait_for(happening.event.time_ms(), shutdown);
        }
        // What is written as it happens bears the time of its sending; what lies in the past bears its own, but none
        // from the future, which brokers refuse.
        let record_ms = (!plan.paced).then(|| happening.event.time_ms().min(now_ms()));
        sink.write(&happening.event, record_ms, &mut buffer)?;
        written.records += 1;
        if let Event::Transaction(transaction) = happening.event {
            written.transactions += 1;
            if written.transactions.is_multiple_of(256) {
                bar.set_position(written.transactions);
            }
            if let Some(kind) = happening.fraud {
                written.frauds.insert(transaction.transaction_id, kind);
            }
        }
    }
    sink.finish()?;
    bar.set_position(written.transactions);
    bar.finish();
    Ok(written)
}

/// The wall clock in epoch milliseconds.
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

/// Sleeps until the time has come, or somebody wants to stop.
fn wait_for(time_ms: i64, shutdown: &CancellationToken) {
    while !shutdown.is_cancelled() {
        let left_ms = time_ms - now_ms();
        if left_ms <= 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(left_ms.clamp(1, 200) as u64));
    }
}
