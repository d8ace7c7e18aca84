//! Readiness of a process, derived in one place from the reports of its parts and from the time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time after which the work of a part counts as stalled: an outage shows within 5 s.
const STALLED: Duration = Duration::from_secs(4);

/// The parts of a process by name. The process is ready when every part is.
#[derive(Debug)]
pub struct Health(Mutex<BTreeMap<String, State>>);

/// A part that reports its own state. Clones report for the same part.
#[derive(Clone, Debug)]
pub struct Part {
    health: Arc<Health>,
    name: String,
}

/// Work of a part that is under way until this is dropped.
#[derive(Debug)]
pub struct Busy<'p>(&'p Part);

/// A part that is ready from its first beat on, and as long as it beats: silence alone makes it unready.
#[derive(Debug)]
pub struct Pulse {
    health: Arc<Health>,
    name: String,
}

/// The standing of a part: what decides about its readiness, together with the time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Reason for not working yet, or at present.
    pub waiting: Option<String>,
    /// Failure of the last work; only later work that succeeds clears it.
    pub failure: Option<String>,
    /// Start of the work that is under way.
    pub busy: Option<Instant>,
}

/// The kind of a reason for not being ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The part does not work yet, or not at present.
    Waiting,
    /// Its last work failed.
    Failed,
    /// Its work takes longer than it should.
    Stalled,
    /// It was not heard of for too long.
    Silent,
}

/// A part that is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unready {
    /// The part's name.
    pub part: String,
    /// The kind of the reason.
    pub kind: Kind,
    /// The reason.
    pub reason: String,
}

/// The last reports of a part.
#[derive(Debug)]
enum State {
    /// Reports of a [`Part`].
    Reported(Standing),
    /// Reports of a [`Pulse`].
    Beating {
        /// Name of a beat, such as "answer from the brokers".
        beat: &'static str,
        /// Age of the last beat at which the part becomes unready.
        limit: Duration,
        /// Time of the last beat; `None` before the first.
        last: Option<Instant>,
        /// Reason for the last missed beat.
        error: Option<String>,
    },
}

impl Health {
    /// A process that is not ready until its part `start` says so.
    pub fn starting() -> Arc<Self> {
        let health = Arc::new(Self(Mutex::default()));
        health.part("start");
        health
    }

    /// Adds a part, unready until its first report; returns a handle of the existing part if the name is known.
    pub fn part(self: &Arc<Self>, name: impl Into<String>) -> Part {
        let name = name.into();
        let state = State::Reported(Standing {
            waiting: Some("starting".into()),
            ..Standing::default()
        });
        self.lock().entry(name.clone()).or_insert(state);
        let health = self.clone();
        Part { health, name }
    }

    /// Adds a part that has to beat at least every `limit`, unready until its first beat.
    pub fn pulse(
        self: &Arc<Self>,
        name: impl Into<String>,
        beat: &'static str,
        limit: Duration,
    ) -> Pulse {
        let name = name.into();
        let state = State::Beating {
            beat,
            limit,
            last: None,
            error: None,
        };
        self.lock().insert(name.clone(), state);
        let health = self.clone();
        Pulse { health, name }
    }

    /// The parts that are not ready now.
    pub fn unready(&self) -> Vec<Unready> {
        let (now, parts) = (Instant::now(), self.lock());
        let unready = parts.iter().filter_map(|(part, state)| {
            let (kind, reason) = state.reason(now)?;
            let part = part.clone();
            Some(Unready { part, kind, reason })
        });
        unready.collect()
    }

    /// The reasons for not being ready now, one line each; empty if ready.
    pub fn reasons(&self) -> String {
        let lines = self.unready().into_iter();
        let lines = lines.map(|Unready { part, reason, .. }| format!("{part}: {reason}\n"));
        lines.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// The part's name in [`Health::reasons`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part waits for nothing. An earlier failure stays until work succeeds.
    pub fn ready(&self) {
        self.report(|standing| standing.waiting = None);
    }

    /// The part does not work now; `reason` names what it waits for.
    pub fn unready(&self, reason: impl Into<String>) {
        self.report(|standing| standing.waiting = Some(reason.into()));
    }

    /// Work failed. The part is unready until [`Part::succeeded`], however often the work is repeated.
    pub fn failed(&self, reason: impl Into<String>) {
        self.report(|standing| standing.failure = Some(reason.into()));
    }

    /// Work succeeded, or the failed work is no longer this part's.
    pub fn succeeded(&self) {
        self.report(|standing| standing.failure = None);
    }

    /// Work begins that usually takes milliseconds. The part is unready while it takes [`STALLED`] or longer: the
    /// server that it waits for is away.
    pub fn busy(&self) -> Busy<'_> {
        self.report(|standing| standing.busy = Some(Instant::now()));
        Busy(self)
    }

    /// Replaces all earlier reports by one.
    pub fn stands(&self, standing: Standing) {
        self.report(|old| *old = standing);
    }

    fn report(&self, change: impl FnOnce(&mut Standing)) {
        if let Some(State::Reported(standing)) = self.health.lock().get_mut(&self.name) {
            change(standing);
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.report(|standing| standing.busy = None);
    }
}

impl Pulse {
    /// Notes that the server answered.
    pub fn beat(&self) {
        self.report(|last, error| {
            *last = Some(Instant::now());
            *error = None;
        });
    }

    /// Notes that the server did not answer; `error` is the reason.
    pub fn missed(&self, error: impl Into<String>) {
        self.report(|_, last_error| *last_error = Some(error.into()));
    }

    /// The part's name in [`Health::reasons`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The reason for not being ready now.
    pub fn reason(&self) -> Option<String> {
        let reason = self.health.lock().get(&self.name)?.reason(Instant::now());
        reason.map(|(_, reason)| reason)
    }

    fn report(&self, change: impl FnOnce(&mut Option<Instant>, &mut Option<String>)) {
        if let Some(State::Beating { last, error, .. }) = self.health.lock().get_mut(&self.name) {
            change(last, error);
        }
    }
}

impl State {
    /// The reason for not being ready at `now`.
    fn reason(&self, now: Instant) -> Option<(Kind, String)> {
        match self {
            Self::Reported(Standing {
                waiting,
                failure,
                busy,
            }) => {
                let stalled = || {
                    let time = now.saturating_duration_since((*busy)?);
                    let text = format!("its work has been under way for {} s", time.as_secs());
                    (time >= STALLED).then_some((Kind::Stalled, text))
                };
                let failed = failure.clone().map(|failure| (Kind::Failed, failure));
                let waits = || Some((Kind::Waiting, waiting.clone()?));
                failed.or_else(waits).or_else(stalled)
            }
            Self::Beating {
                beat,
                limit,
                last,
                error,
            } => {
                let why = error
                    .as_ref()
                    .map_or_else(String::new, |error| format!(": {error}"));
                let Some(last) = last else {
                    return Some((Kind::Silent, format!("no {beat} yet{why}")));
                };
                let silence = now.saturating_duration_since(*last);
                (silence >= *limit).then(|| {
                    let text = format!("no {beat} for {} s{why}", silence.as_secs());
                    (Kind::Silent, text)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_every_part_is() {
        let health = Health::starting();
        let worker = health.part("worker 1");
        worker.unready("warming up");
        assert_eq!(health.reasons(), "start: starting\nworker 1: warming up\n");
        health.part("start").ready();
        assert_eq!(health.reasons(), "worker 1: warming up\n");
        worker.ready();
        assert_eq!(health.reasons(), "");
    }

    #[test]
    fn a_part_that_failed_is_unready_until_work_succeeds() {
        let health = Health::starting();
        let part = health.part("start");
        part.failed("no write");
        let retried = [Part::ready as fn(&Part), |part| part.unready("again")];
        for report in retried {
            report(&part);
            assert_eq!(health.reasons(), "start: no write\n");
        }
        part.succeeded();
        assert_eq!(health.reasons(), "start: again\n");
        part.ready();
        assert_eq!(health.reasons(), "");
    }

    #[test]
    fn work_that_takes_long_is_unready_until_it_ends() {
        let begun = Instant::now();
        let state = State::Reported(Standing {
            busy: Some(begun),
            ..Standing::default()
        });
        let reason = |ms| state.reason(begun + Duration::from_millis(ms));
        assert_eq!(reason(3_999), None);
        let expected = "its work has been under way for 75 s".to_owned();
        assert_eq!(reason(75_500), Some((Kind::Stalled, expected)));
        let health = Health::starting();
        let part = health.part("start");
        part.ready();
        drop(part.busy());
        let later = begun + Duration::from_secs(3_600);
        assert_eq!(health.lock()["start"].reason(later), None);
    }

    #[test]
    fn a_standing_replaces_all_reports_before_it() {
        let health = Health::starting();
        let part = health.part("start");
        part.failed("no write");
        part.stands(Standing::default());
        assert_eq!(health.reasons(), "");
        part.stands(Standing {
            waiting: Some("searching".into()),
            failure: Some("no write".into()),
            busy: None,
        });
        assert_eq!(health.reasons(), "start: no write\n");
    }

    #[test]
    fn silence_is_unready_from_the_limit_on() {
        let begun = Instant::now();
        let state = |last, error: Option<&str>| State::Beating {
            beat: "answer",
            limit: Duration::from_secs(4),
            last,
            error: error.map(Into::into),
        };
        let never = state(None, Some("refused")).reason(begun);
        let expected = "no answer yet: refused".to_owned();
        assert_eq!(never, Some((Kind::Silent, expected)));
        let table = [
            (0, None, None),
            (3_999, Some("hung up"), None),
            (4_000, None, Some("no answer for 4 s")),
            (75_500, Some("hung up"), Some("no answer for 75 s: hung up")),
        ];
        for (passed, error, expected) in table {
            let now = begun + Duration::from_millis(passed);
            let reason = state(Some(begun), error).reason(now);
            let expected = expected.map(|text| (Kind::Silent, text.to_owned()));
            assert_eq!(reason, expected, "{passed}");
        }
    }

    #[test]
    fn a_beat_takes_silence_and_error_back() {
        let health = Health::starting();
        health.part("start").ready();
        let pulse = health.pulse("brokers", "answer", Duration::ZERO);
        assert_eq!(health.reasons(), "brokers: no answer yet\n");
        pulse.missed("hung up");
        assert_eq!(health.reasons(), "brokers: no answer yet: hung up\n");
        pulse.beat();
        assert_eq!(health.reasons(), "brokers: no answer for 0 s\n");
        let pulse = health.pulse("brokers", "answer", Duration::from_secs(3_600));
        pulse.beat();
        assert_eq!((pulse.reason(), health.reasons()), (None, String::new()));
    }
}
