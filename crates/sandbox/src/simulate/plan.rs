//! Writes simulated events: at the pace at which they happen, or as fast as possible.

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
    /// Topic with actions of customers.
    pub user_events: String,
    /// Topic with payments.
    pub transactions: String,
    /// Topic with payments whose truth is known.
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

/// The events to write, and their pace.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The settings of the simulated world.
    pub settings: Settings,
    /// True to wait for an event's time before writing it; false to write as fast as possible.
    pub paced: bool,
}

/// The records written, and the truth about them.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Number of records.
    pub records: u64,
    /// Number of payments among them.
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
        // After the last payment only labels are outstanding: nobody should wait for those.
        if plan.paced && written.transactions < count {
            bar.set_position(written.transactions);
            wait_for(happening.event.time_ms(), shutdown);
        }
        // A paced record gets the time of its sending; a past one its event's own time, but never a future one, which
        // brokers refuse.
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

/// The wall clock (epoch ms).
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

/// Sleeps until the time has come, or `shutdown` is cancelled.
fn wait_for(time_ms: i64, shutdown: &CancellationToken) {
    while !shutdown.is_cancelled() {
        let left_ms = time_ms - now_ms();
        if left_ms <= 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(left_ms.clamp(1, 200) as u64));
    }
}
