//! A steady stream of payments, scored or merely copied: time to the visible answer, transactions, and their cost to
//! the broker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::bare::{self, Copies};
use super::live::Live;
use super::rates::number;
use crate::bench::usage::used;
use crate::harness::{Program, Scene};
use crate::kafka::{Stored, create_topics};
use crate::oracle::Latency;
use crate::simulate::now_ms;
use crate::stack::Stack;

use super::PARTITIONS;

/// The result of a run at a steady rate.
pub(super) struct Steady {
    pub(super) latency: Latency,
    /// Transactions, or batches if there are none.
    pub(super) transactions_per_second: f64,
    pub(super) records_each: f64,
    /// Processor time of the broker, in seconds; of a broker of our own.
    pub(super) broker_seconds_per_1000: Option<f64>,
}

/// Counts at one moment.
struct Moment {
    at_ms: i64,
    broker: Option<Duration>,
    transactions: f64,
    records: f64,
}

impl Moment {
    fn now(stack: &Stack, (transactions, records): (f64, f64)) -> Moment {
        Moment {
            at_ms: now_ms(),
            broker: stack.broker_pid().and_then(used),
            transactions,
            records,
        }
    }
}

/// The scorer with default flags and `more`, for `each`.
pub(super) fn scored(
    stack: &Stack,
    scene: &Scene,
    rate: u64,
    more: &[&str],
    each: Duration,
) -> Result<Steady> {
    let counts = |scorer: &Program| -> Result<(f64, f64)> {
        let count = |part: &str| number(scorer, &format!("tidemill_batch_records_{part}"));
        Ok((count("count")?, count("sum")?))
    };
    let (live, (from, to)) = Live::run(scene, rate, more, |scorer, _| {
        let from = Moment::now(stack, counts(scorer)?);
        thread::sleep(each);
        Ok((from, Moment::now(stack, counts(scorer)?)))
    })?;
    Steady::between(&live, &from, &to)
}

/// A loop that copies all that has arrived exactly once, and does nothing else; each copy is `sample`.
pub(super) fn copied(
    stack: &Stack,
    scene: &Scene,
    rate: u64,
    sample: &Stored,
    each: Duration,
) -> Result<Steady> {
    create_topics(&scene.brokers, &[&scene.names.predictions], PARTITIONS)?;
    let (stop, copies) = (AtomicBool::new(false), Copies::default());
    thread::scope(|scope| {
        let copying = scope.spawn(|| bare::follow(scene, sample, &copies, &stop));
        let watched = Live::watched(scene, rate, |_| {
            let from = Moment::now(stack, copies.counts());
            thread::sleep(each);
            Ok((from, Moment::now(stack, copies.counts())))
        });
        stop.store(true, Ordering::Relaxed);
        let ended = copying.join();
        ended.map_err(|_| anyhow!("the copy loop panicked"))??;
        let (live, (from, to)) = watched?;
        Steady::between(&live, &from, &to)
    })
}

impl Steady {
    fn between(live: &Live, from: &Moment, to: &Moment) -> Result<Steady> {
        let seconds = (to.at_ms - from.at_ms) as f64 / 1_000.0;
        let transactions = to.transactions - from.transactions;
        let records = to.records - from.records;
        let broker = from.broker.zip(to.broker);
        let broker = broker.map(|(from, to)| (to - from).as_secs_f64());
        Ok(Steady {
            latency: live.latency(from.at_ms, to.at_ms).context("latency")?,
            transactions_per_second: transactions / seconds,
            records_each: records / transactions.max(1.0),
            broker_seconds_per_1000: broker.map(|seconds| seconds / records.max(1.0) * 1_000.0),
        })
    }

    /// The cells of a table, in the order of [`HEADER`].
    pub(super) fn cells(&self) -> Vec<String> {
        let Latency {
            p50_ms,
            p99_ms,
            max_ms,
            ..
        } = self.latency;
        let broker = self.broker_seconds_per_1000;
        let broker = broker.map_or_else(|| "-".into(), |seconds| format!("{seconds:.2}"));
        let mut cells = vec![
            format!("{:.0}", self.transactions_per_second),
            format!("{:.0}", self.records_each),
            broker,
        ];
        cells.extend([p50_ms, p99_ms, max_ms].map(|ms| ms.to_string()));
        cells
    }
}

/// The names of the cells.
pub(super) const HEADER: [&str; 6] = [
    "transactions/s",
    "records each",
    "broker CPU s a 1,000",
    "p50 ms",
    "p99 ms",
    "slowest ms",
];
