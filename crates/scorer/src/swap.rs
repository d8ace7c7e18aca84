//! The current model and its successors: a changed file is loaded beside the running model and takes
//! its place between two batches; a bad one never does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::model::{Loaded, load, manifest_path};

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// The model that workers score with.
pub struct Models {
    current: RwLock<Arc<Loaded>>,
    version: AtomicU64,
}

impl Models {
    /// Starts with a loaded model.
    pub fn new(first: Loaded) -> Self {
        info(&first).set(1.0);
        Models {
            current: RwLock::new(Arc::new(first)),
            version: AtomicU64::new(0),
        }
    }

    /// Changes whenever the model does.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The current model with its version.
    pub fn current(&self) -> (u64, Arc<Loaded>) {
        // The version first: at worst the newer model is taken up twice.
        let version = self.version();
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        (version, current.clone())
    }

    fn replace(&self, model: Loaded) {
        info(&self.current().1).set(0.0);
        info(&model).set(1.0);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(model);
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// Says whether this model is the one that scores.
fn info(model: &Loaded) -> metrics::Gauge {
    metrics::gauge!("tidemill_model_info", "sha256" => model.sha256.clone())
}

/// What tells a changed file: modification time and length of model and manifest.
type Fingerprint = [Option<(SystemTime, u64)>; 2];

fn fingerprint(path: &Path) -> Fingerprint {
    [path.to_owned(), manifest_path(path)].map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

/// Watches the model at `path` and its manifest until `shutdown`.
///
/// A change is acted on when it has rested from one look to the next, so that a file is not read
/// while it is being written.
pub async fn watch(models: Arc<Models>, path: PathBuf, shutdown: CancellationToken) {
    let mut tried = fingerprint(&path);
    let mut seen = tried;
    while shutdown
        .run_until_cancelled(tokio::time::sleep(LOOK))
        .await
        .is_some()
    {
        let now = fingerprint(&path);
        let rested = now == seen;
        seen = now;
        // A model that is gone is being replaced, or was taken away by mistake.
        if now == tried || !rested || now[0].is_none() {
            continue;
        }
        tried = now;
        let file = path.clone();
        let outcome = tokio::task::spawn_blocking(move || load(&file)).await;
        match outcome.map_err(anyhow::Error::from).flatten() {
            Ok(model) => {
                let (_, old) = models.current();
                tracing::info!(from = old.sha256, to = model.sha256, "model swapped");
                metrics::counter!("tidemill_model_swaps_total").increment(1);
                models.replace(model);
            }
            Err(error) => {
                metrics::counter!("tidemill_models_refused_total").increment(1);
                tracing::error!("changed model refused, the old one goes on: {error:#}");
            }
        }
    }
}
