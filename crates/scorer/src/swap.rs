//! The current model and its successors: a bundle whose contents changed is loaded beside the running model and
//! takes its place between two batches; a bad one never does. Contents decide, never time stamps.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use tidemill_core::clock::now_ms;
use tokio_util::sync::CancellationToken;

use crate::model::{Contents, Loaded, load, manifest_path};

/// The shortest pause between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// A look reads and digests all files. The pause after one is this many times as long as it took, so that large
/// models cost 2 % of a core at most: 2 s at 40 ms for about 50 MB.
const REST: u32 = 50;

/// The model that workers score with.
pub struct Models {
    current: RwLock<Arc<Loaded>>,
    version: AtomicU64,
    /// Start of the current model's time (epoch ms).
    since: AtomicI64,
}

impl Models {
    /// Starts with a loaded model.
    pub fn new(first: Loaded) -> Self {
        Models {
            current: RwLock::new(Arc::new(first)),
            version: AtomicU64::new(0),
            since: AtomicI64::new(now_ms()),
        }
    }

    /// Has the metrics name the model; before the admin pages are served, nobody would keep that.
    pub fn announce(&self) {
        info(&self.current().1).set(1.0);
    }

    /// Changes whenever the model does.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The time (epoch ms) since which the current model scores.
    pub fn since(&self) -> i64 {
        self.since.load(Ordering::Relaxed)
    }

    /// The current model with its version.
    pub fn current(&self) -> (u64, Arc<Loaded>) {
        // The version first: at worst the newer model is taken up twice.
        let version = self.version();
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        (version, current.clone())
    }

    fn replace(&self, model: Loaded) {
        let (_, old) = self.current();
        tracing::info!(from = old.sha256, to = model.sha256, "model swapped");
        metrics::counter!("tidemill_model_swaps_total").increment(1);
        info(&old).set(0.0);
        info(&model).set(1.0);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(model);
        self.since.store(now_ms(), Ordering::Relaxed);
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// Says whether this model is the one that scores.
fn info(model: &Loaded) -> metrics::Gauge {
    metrics::gauge!("tidemill_model_info", "sha256" => model.sha256.clone())
}

/// The result of a look at the model's files: their contents, or the reason why there are none.
type Look = Result<Contents, String>;

/// Watches the files of the model that scores.
struct Watcher {
    models: Arc<Models>,
    path: PathBuf,
    seen: Look,
    /// The last look that was acted on.
    tried: Look,
}

/// The outcome of a look.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// The files rest as they were, or do not rest yet.
    Nothing,
    /// Another model scores from now on.
    Swapped,
    /// The files are again those of the model that scores.
    Back,
    /// They cannot be used, for this reason; the model that scores goes on.
    Refused(String),
}

/// Watches the bundle of the model at `path` until `shutdown`.
pub async fn watch(models: Arc<Models>, path: PathBuf, shutdown: CancellationToken) {
    let mut watcher = Watcher::new(models, path);
    let mut pause = LOOK;
    while shutdown
        .run_until_cancelled(tokio::time::sleep(pause))
        .await
        .is_some()
    {
        let look = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let now = watcher.read();
            let pause = LOOK.max(started.elapsed() * REST);
            tell(&watcher.act(now));
            (watcher, pause)
        });
        match look.await {
            Ok(back) => (watcher, pause) = back,
            Err(error) => {
                return tracing::error!("the model's files are no longer watched: {error}");
            }
        }
    }
}

fn tell(outcome: &Outcome) {
    match outcome {
        Outcome::Nothing | Outcome::Swapped => {}
        Outcome::Back => {
            tracing::info!("the model's files are again those of the model that scores")
        }
        Outcome::Refused(error) => {
            metrics::counter!("tidemill_models_refused_total").increment(1);
            tracing::error!("changed model refused, the old one goes on: {error}");
        }
    }
}

impl Watcher {
    fn new(models: Arc<Models>, path: PathBuf) -> Self {
        let seen: Look = Ok(models.current().1.contents.clone());
        Watcher {
            models,
            path,
            tried: seen.clone(),
            seen,
        }
    }

    /// Reads the files.
    fn read(&self) -> Look {
        let found = Contents::look(&self.path, self.seen.as_ref().ok());
        found.map_err(|error| format!("{error:#}"))
    }

    /// Acts on a change once two looks in a row have found it, so that files are not taken while they are put in
    /// place one after the other.
    fn act(&mut self, now: Look) -> Outcome {
        let rested = now == self.seen;
        self.seen = now;
        if !rested || self.seen == self.tried {
            return Outcome::Nothing;
        }
        self.tried = self.seen.clone();
        match self.successor() {
            Ok(Some(model)) => {
                self.models.replace(model);
                Outcome::Swapped
            }
            Ok(None) => Outcome::Back,
            Err(error) => Outcome::Refused(format!("{error:#}")),
        }
    }

    /// Loads what was seen, unless it is the model that scores.
    fn successor(&self) -> anyhow::Result<Option<Loaded>> {
        let contents = self.seen.as_ref().map_err(|error| anyhow!("{error}"))?;
        let (_, current) = self.models.current();
        if *contents == current.contents {
            return Ok(None);
        }
        ensure!(
            contents.has_manifest() || !current.contents.has_manifest(),
            "its manifest {} is gone, and without one the default inputs and threshold would hold",
            manifest_path(&self.path).display()
        );
        let loaded = load(&self.path)?;
        ensure!(
            loaded.contents == *contents,
            "its files changed while it was loaded"
        );
        Ok(Some(loaded))
    }
}

#[cfg(test)]
mod tests;
