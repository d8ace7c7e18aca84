//! Errors after the start: the one decision on their consequence, and retries while a server is away.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidemill_core::claim::Unavailable;
use tidemill_core::exit::Failure;
use tidemill_core::health::Part;
use tidemill_core::kafka::{self, in_words};
use tokio_util::sync::CancellationToken;

/// First and longest wait before a failed try is followed by another.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// A try that takes this long counts as failing, so that an outage shows within 5 s.
const SILENT: Duration = Duration::from_secs(4);

/// The consequence of an error for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Brokers, the data set's store or the claims' are away, or refuse for now: the same is tried again.
    Retry,
    /// The user has to change something; the run ends with the failure's own exit code.
    Usage,
    /// Nobody knows how to go on; the run ends with exit code 70.
    Fault,
}

/// Decides the consequence of an error.
pub(crate) fn kind(error: &anyhow::Error) -> Kind {
    if error.chain().any(|cause| cause.is::<Failure>()) {
        return Kind::Usage;
    }
    let passes = error.chain().any(|cause| {
        let store = cause.downcast_ref::<object_store::Error>();
        store.is_some_and(passes) || cause.is::<Unavailable>() || cause.is::<io::Error>()
    });
    match passes || kafka::is_client_error(error) {
        true => Kind::Retry,
        false => Kind::Fault,
    }
}

/// The same error at the start, where servers that are away are not waited for. A bucket that does not exist is a
/// mistake in its name.
pub(crate) fn unreachable(error: anyhow::Error) -> anyhow::Error {
    match kind(&error) {
        Kind::Retry if in_words(&error).contains("NoSuchBucket") => {
            Failure::usage(format!("there is no such bucket: {}", in_words(&error)))
        }
        Kind::Retry => Failure::unreachable(in_words(&error)),
        Kind::Usage | Kind::Fault => error,
    }
}

/// True for errors of a store that a later attempt may not meet; false for errors in the request itself.
fn passes(error: &object_store::Error) -> bool {
    use object_store::Error::{InvalidPath, NotImplemented, UnknownConfigurationKey};
    !matches!(
        error,
        InvalidPath { .. } | NotImplemented { .. } | UnknownConfigurationKey { .. }
    )
}

/// The outages that one part of the process shows: it is unready while any of its tries fails. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Outages {
    part: Part,
    failing: Arc<Mutex<usize>>,
}

/// A failing attempt; dropped when it has succeeded or is given up.
struct Failing<'a>(&'a Outages);

impl Outages {
    /// Shown by `part`.
    pub(crate) fn of(part: Part) -> Self {
        Self {
            part,
            failing: Arc::default(),
        }
    }

    fn begin(&self) -> Failing<'_> {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Failing(self)
    }

    /// Retries until it succeeds, with growing pauses, unready meanwhile. It has no time limit: the caller drops the
    /// future to give up.
    ///
    /// Errors: those that no other try would heal.
    pub(crate) async fn retry<T, Try>(
        &self,
        what: &str,
        attempt: impl Fn() -> Try,
    ) -> anyhow::Result<T>
    where
        Try: Future<Output = anyhow::Result<T>>,
    {
        let mut failing = None;
        let mut wait = BACKOFF.0;
        loop {
            let mut answer = pin!(attempt());
            let outcome = match tokio::time::timeout(SILENT, &mut answer).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    let failing: &Failing<'_> = failing.get_or_insert_with(|| self.begin());
                    failing.because(format!("{what}: no answer for {SILENT:?}"));
                    answer.await
                }
            };
            match outcome {
                Ok(done) => return Ok(done),
                Err(error) if kind(&error) != Kind::Retry => return Err(error),
                Err(error) => {
                    let failing: &Failing<'_> = failing.get_or_insert_with(|| self.begin());
                    let error = in_words(&error);
                    failing.because(format!("{what}: {error}"));
                    tracing::warn!(again_in = ?wait, "{what} failed: {error}");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(BACKOFF.1);
                }
            }
        }
    }

    /// As [`Outages::retry`], for writing to the data set, whose failures are counted: a full disk or a store that is away
    /// loses nothing, because the batch stays in memory and its position is not passed.
    pub(crate) async fn persist<T, Try>(
        &self,
        what: &str,
        attempt: impl Fn() -> Try,
    ) -> anyhow::Result<T>
    where
        Try: Future<Output = anyhow::Result<T>>,
    {
        let counted = || async {
            let outcome = attempt().await;
            if outcome.is_err() {
                metrics::counter!("tidemill_store_failures_total").increment(1);
            }
            outcome
        };
        self.retry(what, counted).await
    }

    /// As [`Outages::retry`]; `None` if stopped before.
    pub(crate) async fn retry_until<T, Try>(
        &self,
        shutdown: &CancellationToken,
        what: &str,
        attempt: impl Fn() -> Try,
    ) -> anyhow::Result<Option<T>>
    where
        Try: Future<Output = anyhow::Result<T>>,
    {
        tokio::select! {
            done = self.retry(what, attempt) => done.map(Some),
            () = shutdown.cancelled() => Ok(None),
        }
    }
}

impl Failing<'_> {
    fn because(&self, reason: String) {
        self.0.part.failed(reason);
    }
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        let failing = &self.0.failing;
        let mut failing = failing.lock().unwrap_or_else(PoisonError::into_inner);
        *failing -= 1;
        if *failing == 0 {
            self.0.part.succeeded();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;
    use tidemill_core::health::Health;

    fn away() -> anyhow::Error {
        let source = io::Error::other("disk full");
        anyhow::Error::from(source).context("publishing")
    }

    #[test]
    fn every_error_is_of_one_kind() {
        let unavailable = Unavailable {
            error: "no object".into(),
            took: Duration::ZERO,
        };
        let store = |error: object_store::Error| anyhow::Error::from(error).context("creating");
        let missing = || object_store::Error::NotFound {
            path: "a".into(),
            source: "gone".into(),
        };
        let nested = Err::<(), _>(Failure::usage("other --headers")).context(away());
        for (error, expected) in [
            (away(), Kind::Retry),
            (unavailable.into(), Kind::Retry),
            (store(missing()), Kind::Retry),
            (
                store(object_store::Error::NotImplemented {
                    operation: "put_opts".into(),
                    implementer: "x".into(),
                }),
                Kind::Fault,
            ),
            (nested.unwrap_err(), Kind::Usage),
            (Failure::unreachable("no"), Kind::Usage),
            (anyhow::anyhow!("not a whole Parquet file"), Kind::Fault),
        ] {
            assert_eq!(kind(&error), expected, "{error:#}");
        }
    }

    #[test]
    fn no_cause_is_told_twice() {
        let source = io::Error::other("disk full").into();
        let store = "S3";
        let error = object_store::Error::Generic { store, source };
        let error = anyhow::Error::from(error).context("creating a.parquet");
        let text = in_words(&error);
        assert_eq!(text.matches("disk full").count(), 1, "{text}");
        assert!(text.starts_with("creating a.parquet: "), "{text}");
        assert_eq!(in_words(&away()), "publishing: disk full");
    }

    #[tokio::test]
    async fn what_passes_is_tried_again_and_the_rest_ends_at_once() {
        let health = Health::starting();
        health.part("start").ready();
        let part = health.part("store");
        part.ready();
        let outages = Outages::of(part);
        let tries = AtomicUsize::new(0);
        let done = outages.retry("publishing", || async {
            match tries.fetch_add(1, Ordering::Relaxed) {
                0 => Err(away()),
                1 => {
                    assert!(health.reasons().contains("disk full"));
                    Ok(7)
                }
                _ => unreachable!(),
            }
        });
        assert_eq!(done.await.unwrap(), 7);
        assert_eq!(health.reasons(), "");
        let tries = AtomicUsize::new(0);
        let ended = outages.retry("freezing", || async {
            tries.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(Failure::usage("other --headers"))
        });
        assert_eq!(kind(&ended.await.unwrap_err()), Kind::Usage);
        assert_eq!(tries.into_inner(), 1);
    }

    #[tokio::test]
    async fn a_part_is_unready_from_silence_on_and_while_any_of_its_tries_fails() {
        let health = Health::starting();
        health.part("start").ready();
        let part = health.part("store");
        part.ready();
        let outages = Outages::of(part);
        let hung = |outages: Outages| async move {
            let never = || std::future::pending::<anyhow::Result<()>>();
            outages.retry("publishing", never).await
        };
        let began = Instant::now();
        let tasks = [0, 1].map(|_| tokio::spawn(hung(outages.clone())));
        while *outages.failing.lock().unwrap() < 2 {
            assert!(began.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(began.elapsed() >= SILENT, "{:?}", began.elapsed());
        let reasons = health.reasons();
        let told = "publishing: no answer for 4s";
        assert!(reasons.contains(told), "{reasons}");
        for (task, ready) in tasks.into_iter().zip([false, true]) {
            // As when the partition goes to another worker.
            task.abort();
            assert!(task.await.is_err());
            assert_eq!(health.reasons().is_empty(), ready);
        }
    }
}
