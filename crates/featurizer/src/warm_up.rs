//! Progress of building windows, and of writing the hashes after it: on a terminal a bar with rate and time left,
//! elsewhere a log line every few seconds.

use indicatif::{HumanDuration, ProgressBar};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tidemill_core::progress::bar;

/// Pause between two log lines.
const LINES: Duration = Duration::from_secs(5);

/// The stage of a worker between its start and its first exact hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has applied `done` of the `all` offsets that its windows are built from.
    Reading { done: u64, all: u64 },
    /// Its windows are built, and so many users are known to wait for their hashes.
    Writing { left: u64 },
    /// Every hash agrees with its window.
    Settled,
}

/// The warm-up of all workers of a process.
pub(crate) struct WarmUp {
    terminal: bool,
    state: Mutex<Option<State>>,
}

/// A warm-up under way.
struct State {
    workers: BTreeMap<usize, Worker>,
    /// True while windows are built.
    reading: bool,
    /// The most users that have waited for their hashes at once.
    most: u64,
    bar: ProgressBar,
    /// The beginning of the stage.
    begun: Instant,
    line: Instant,
}

/// The part of one worker.
#[derive(Default)]
struct Worker {
    /// Offsets applied, and their total.
    records: (u64, u64),
    /// Users that wait for their hashes; `None` once there are none.
    left: Option<u64>,
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
    /// Notes the stage of a worker.
    pub(crate) fn report(&self, worker: usize, stage: Stage) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        if state.is_none() {
            let reading = match stage {
                Stage::Reading { .. } => true,
                Stage::Writing { left } if left > 0 => false,
                Stage::Writing { .. } | Stage::Settled => return,
            };
            *state = Some(State::begin(reading, BTreeMap::new()));
        }
        let Some(under_way) = state.as_mut() else {
            return;
        };
        under_way.note(worker, stage);
        if under_way.tell(self.terminal) {
            *state = None;
        }
    }
}

impl State {
    fn begin(reading: bool, workers: BTreeMap<usize, Worker>) -> Self {
        Self {
            workers,
            reading,
            most: 0,
            bar: bar(0, name(reading)),
            begun: Instant::now(),
            line: Instant::now(),
        }
    }

    /// Goes over to the other stage.
    fn turn(&mut self) {
        *self = Self::begin(!self.reading, std::mem::take(&mut self.workers));
    }

    fn note(&mut self, worker: usize, stage: Stage) {
        let own = self.workers.entry(worker).or_default();
        let (_, all) = own.records;
        (own.records, own.left) = match stage {
            Stage::Reading { done, all } => ((done, all), None),
            Stage::Writing { left } => ((all, all), Some(left)),
            Stage::Settled => ((all, all), None),
        };
    }

    /// Shows the progress. True if there is none any more.
    fn tell(&mut self, terminal: bool) -> bool {
        let sum = |of: fn(&Worker) -> u64| self.workers.values().map(of).sum::<u64>();
        let (done, all) = (sum(|own| own.records.0), sum(|own| own.records.1));
        if done < all {
            if !self.reading {
                // A partition came whose windows have to be built.
                self.turn();
            }
            self.show(terminal, done, all);
            return false;
        }
        if self.reading {
            let seconds = self.begun.elapsed().as_millis() as f64 / 1e3;
            self.bar.finish_and_clear();
            tracing::info!(records = done, seconds, "windows are built");
            self.turn();
        }
        let left = self.workers.values().filter_map(|own| own.left);
        let left = left.reduce(|one, other| one + other);
        self.most = self.most.max(left.unwrap_or_default());
        match left {
            Some(left) => self.show(terminal, self.most - left, self.most),
            None => {
                let seconds = self.begun.elapsed().as_millis() as f64 / 1e3;
                self.bar.finish_and_clear();
                tracing::info!(seconds, "hashes are written");
            }
        }
        left.is_none()
    }

    fn show(&mut self, terminal: bool, done: u64, of: u64) {
        self.bar.set_length(of);
        self.bar.set_position(done);
        if !terminal && self.line.elapsed() >= LINES {
            self.line = Instant::now();
            let rate = done as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
            let left = Duration::from_secs_f64(of.saturating_sub(done) as f64 / rate.max(1.0));
            let (per_second, left) = (rate.round(), HumanDuration(left));
            let stage = name(self.reading);
            match self.reading {
                true => tracing::info!(records = done, of, per_second, %left, "{stage}"),
                false => tracing::info!(users = done, of, per_second, %left, "{stage}"),
            }
        }
    }
}

/// The name of a stage.
fn name(reading: bool) -> &'static str {
    match reading {
        true => "warming up",
        false => "writing hashes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stage shown: `true` while windows are built, and the users done and in all.
    fn shown(warm_up: &WarmUp) -> Option<(bool, u64, u64)> {
        let state = warm_up.state.lock().unwrap();
        let state = state.as_ref()?;
        let (done, all) = (state.bar.position(), state.bar.length());
        Some((state.reading, done, all.unwrap_or_default()))
    }

    #[test]
    fn it_ends_when_all_workers_have_written_their_hashes() {
        let warm_up = WarmUp::default();
        let reading = |done| Stage::Reading { done, all: 10 };
        let writing = |left| Stage::Writing { left };
        for (worker, stage, expected) in [
            (0, Stage::Settled, None),
            (0, writing(0), None),
            (0, reading(1), Some((true, 1, 10))),
            (1, reading(4), Some((true, 5, 20))),
            // The other one still reads.
            (0, writing(7), Some((true, 14, 20))),
            (1, writing(3), Some((false, 0, 10))),
            (0, writing(2), Some((false, 5, 10))),
            (0, Stage::Settled, Some((false, 7, 10))),
            (1, reading(0), Some((true, 10, 20))),
            (1, Stage::Settled, None),
            (1, writing(4), Some((false, 0, 4))),
            (1, Stage::Settled, None),
        ] {
            warm_up.report(worker, stage);
            assert_eq!(shown(&warm_up), expected, "worker {worker}: {stage:?}");
        }
    }
}
