//! The progress of a bounded run: a bar on a terminal, elsewhere a log line now and then.

use crate::dataset::footer::Footer;
use crate::features::Unknown;
use indicatif::{HumanDuration, ProgressBar};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tidemill_core::progress::bar;

/// Between two log lines.
const LINES: Duration = Duration::from_secs(5);

/// The progress of all workers of a run, in offsets.
pub(crate) struct Progress {
    bar: ProgressBar,
    total: u64,
    /// Records in the files that were published.
    records: AtomicU64,
    state: Mutex<State>,
}

struct State {
    /// Offsets that each worker has read, by a number that only it uses.
    read: BTreeMap<i32, u64>,
    /// Rows with unknown features in the files that were published.
    unknown: Unknown,
    begun: Instant,
    /// Time of the last log line; `None` where a bar is drawn.
    line: Option<Instant>,
}

impl Progress {
    /// Nothing of `total` offsets read yet.
    pub(crate) fn new(total: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let now = Instant::now();
        Self {
            bar: bar(total, "collecting"),
            total,
            records: AtomicU64::new(0),
            state: Mutex::new(State {
                read: BTreeMap::new(),
                unknown: Unknown::default(),
                begun: now,
                line: (!terminal).then_some(now),
            }),
        }
    }

    /// A file is in the data set.
    pub(crate) fn published(&self, file: &Footer) {
        self.records.fetch_add(file.rows + file.rejected, Relaxed);
        if let Ok(mut state) = self.state.lock() {
            state.unknown = state.unknown.and(file.unknown);
        }
    }

    /// One worker has read so many offsets in all.
    pub(crate) fn report(&self, worker: i32, read: u64) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        state.read.insert(worker, read);
        let read = state.read.values().sum();
        self.bar.set_position(read);
        if state.line.is_some_and(|line| line.elapsed() >= LINES) {
            state.line = Some(Instant::now());
            let rate = read as f64 / state.begun.elapsed().as_secs_f64().max(0.001);
            let left = self.total.saturating_sub(read) as f64 / rate.max(1.0);
            tracing::info!(
                read,
                total = self.total,
                per_second = rate.round(),
                left = %HumanDuration(Duration::from_secs_f64(left)),
                "collecting"
            );
        }
    }

    /// All is read and published.
    pub(crate) fn finish(&self) {
        self.bar.finish();
        if let Ok(state) = self.state.lock() {
            let seconds = state.begun.elapsed().as_secs_f64().max(0.001);
            let records = self.records.load(Relaxed);
            let per_second = (records as f64 / seconds).round();
            let seconds = (seconds * 1e3).round() / 1e3;
            let Unknown { unasked, uncovered } = state.unknown;
            if state.unknown.total() > 0 {
                tracing::warn!(
                    unasked,
                    uncovered,
                    "rows have null features, since these are not known: unasked, no user_id or no time in the field of \
                     --as-of; uncovered, events deleted by retention or written after --to"
                );
            }
            tracing::info!(records, seconds, per_second, "collected");
        }
    }
}
