//! Progress of building windows: on a terminal a bar with rate and time left, elsewhere a log line every few seconds.

use indicatif::{HumanDuration, ProgressBar};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tidemill_core::progress::bar;

/// Pause between two log lines.
const LINES: Duration = Duration::from_secs(5);

/// The warm-up of all workers of a process, in offsets.
pub(crate) struct WarmUp {
    terminal: bool,
    state: Mutex<Option<State>>,
}

/// A warm-up under way.
struct State {
    bar: ProgressBar,
    begun: Instant,
    line: Instant,
    /// For each worker, the offsets done and their total.
    workers: BTreeMap<usize, (u64, u64)>,
}

impl Default for WarmUp {
    fn default() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            state: Mutex::new(None),
        }
    }
}

impl WarmUp {
    /// Notes that a worker has applied `done` of the `all` offsets that its windows are built from.
    pub(crate) fn report(&self, worker: usize, done: u64, all: u64) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        let state = state.get_or_insert_with(State::begin);
        state.workers.insert(worker, (done, all));
        let (done, all) = state.sums();
        state.bar.set_length(all);
        state.bar.set_position(done);
        if !self.terminal && state.line.elapsed() >= LINES {
            state.line = Instant::now();
            let rate = done as f64 / state.begun.elapsed().as_secs_f64().max(0.001);
            let left = Duration::from_secs_f64(all.saturating_sub(done) as f64 / rate.max(1.0));
            tracing::info!(
                records = done,
                of = all,
                per_second = rate.round(),
                left = %HumanDuration(left),
                "warming up"
            );
        }
    }

    /// Notes that a worker builds no windows, or has finished.
    pub(crate) fn done(&self, worker: usize) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        let Some(under_way) = state.as_mut() else {
            return;
        };
        if let Some((done, all)) = under_way.workers.get_mut(&worker) {
            *done = *all;
        }
        let (done, all) = under_way.sums();
        if done == all {
            under_way.bar.finish_and_clear();
            let seconds = under_way.begun.elapsed().as_millis() as f64 / 1e3;
            tracing::info!(records = done, seconds, "windows are built");
            *state = None;
        }
    }
}

impl State {
    fn begin() -> Self {
        let (begun, line, workers) = (Instant::now(), Instant::now(), BTreeMap::new());
        Self {
            bar: bar(0, "warming up"),
            begun,
            line,
            workers,
        }
    }

    fn sums(&self) -> (u64, u64) {
        let sum = |(done, all): (u64, u64), own: &(u64, u64)| (done + own.0, all + own.1);
        self.workers.values().fold((0, 0), sum)
    }
}
