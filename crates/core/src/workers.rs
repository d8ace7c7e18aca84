//! The worker threads of a process: the first that fails stops the others.

use crate::entry::STOP_LIMIT;
use crate::kafka::in_words;
use anyhow::{Context, anyhow};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Time after a stop until the workers still running are logged: just before the process ends without them.
const LATE: Duration = STOP_LIMIT.saturating_sub(Duration::from_secs(1));

/// Runs `work` on `count` threads, numbered from 0, until all have ended.
///
/// A worker ends when `shutdown` is cancelled, when it is done, or with an error; an error or a panic cancels the
/// token for the others. The first error is returned.
pub async fn run<Work>(count: usize, shutdown: &CancellationToken, work: Work) -> anyhow::Result<()>
where
    Work: Fn(usize, CancellationToken) -> anyhow::Result<()> + Send + Sync + 'static,
{
    let work = Arc::new(work);
    let (ended, mut endings) = mpsc::unbounded_channel();
    for worker in 0..count {
        let (work, shutdown, ended) = (work.clone(), shutdown.clone(), ended.clone());
        std::thread::Builder::new()
            .name(format!("worker-{worker}"))
            .spawn(move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| work(worker, shutdown)))
                    .unwrap_or_else(|panic| Err(anyhow!("worker panicked: {}", text(&*panic))))
                    .with_context(|| format!("worker {worker}"));
                // The receiver is gone only if the process is ending anyway.
                ended.send((worker, outcome)).ok();
            })
            .context("starting a worker thread")?;
    }
    drop(ended);
    let mut running: BTreeSet<usize> = (0..count).collect();
    let mut first = Ok(());
    let mut late = std::pin::pin!(async {
        shutdown.cancelled().await;
        tokio::time::sleep(LATE).await;
    });
    let mut told = false;
    loop {
        let ending = tokio::select! {
            ending = endings.recv() => ending,
            () = &mut late, if !told => {
                tracing::warn!(workers = ?running, "told to stop, and still at work");
                told = true;
                continue;
            }
        };
        let Some((worker, outcome)) = ending else {
            return first;
        };
        running.remove(&worker);
        if let Err(error) = outcome {
            shutdown.cancel();
            if first.is_ok() {
                first = Err(error);
            } else {
                tracing::error!("{}", in_words(&error));
            }
        }
    }
}

fn text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn a_failure_or_panic_of_one_stops_all() {
        for panics in [false, true] {
            let shutdown = CancellationToken::new();
            let outcome = run(3, &shutdown, move |worker, shutdown| {
                if worker == 1 {
                    assert!(!panics, "as the test wants");
                    anyhow::bail!("broken");
                }
                let deadline = Instant::now() + Duration::from_secs(30);
                while !shutdown.is_cancelled() {
                    anyhow::ensure!(Instant::now() < deadline, "was not stopped");
                    std::thread::yield_now();
                }
                Ok(())
            })
            .await;
            let error = format!("{:#}", outcome.unwrap_err());
            assert!(error.starts_with("worker 1: "), "{error}");
        }
    }

    #[tokio::test]
    async fn all_done_is_done() {
        let shutdown = CancellationToken::new();
        run(2, &shutdown, |_, _| Ok(())).await.unwrap();
        assert!(!shutdown.is_cancelled());
    }
}
