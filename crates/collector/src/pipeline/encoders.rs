//! The threads that encode files: as many as there is memory for, and always the same ones.
//!
//! The allocator keeps for a thread what that thread has freed. Encoding a file takes about as much memory as its
//! records; on threads that change, as those of tokio's blocking pool do, each one would keep as much.

use anyhow::Context;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that encode. Clones are the same; the threads end with the last of them.
#[derive(Clone)]
pub(crate) struct Encoders(Sender<Job>);

impl Encoders {
    /// Starts so many threads.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let (jobs, waiting) = channel::<Job>();
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..count {
            let waiting = waiting.clone();
            let next = move || waiting.lock().ok()?.recv().ok();
            let work = move || {
                while let Some(job) = next() {
                    job();
                }
            };
            let thread = thread::Builder::new().name(format!("encoder-{number}"));
            thread.spawn(work)?;
        }
        Ok(Self(jobs))
    }

    /// Runs `work` as soon as a thread is free.
    ///
    /// Errors: it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let (done, outcome) = oneshot::channel();
        let job = move || {
            done.send(work()).ok();
        };
        self.0.send(Box::new(job)).ok();
        outcome.await.context("encoding a file")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use tokio::task::JoinSet;

    #[tokio::test]
    async fn work_is_done_by_so_many_threads_and_no_others() {
        let encoders = Encoders::start(2).unwrap();
        let mut tasks = JoinSet::new();
        for number in 0..100 {
            let encoders = encoders.clone();
            let work = move || (number, thread::current().name().map(str::to_owned));
            tasks.spawn(async move { encoders.run(work).await.unwrap() });
        }
        let (numbers, threads): (BTreeSet<i32>, BTreeSet<_>) =
            tasks.join_all().await.into_iter().unzip();
        assert_eq!(numbers, (0..100).collect());
        let own = ["encoder-0", "encoder-1"].map(|name| Some(name.to_owned()));
        assert!(threads.is_subset(&own.into()), "{threads:?}");
        let panicked = encoders.run(|| panic!("as the test wants"));
        assert!(panicked.await.is_err());
    }
}
