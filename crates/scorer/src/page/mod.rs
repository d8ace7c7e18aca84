//! The scorer's section of the live page: the model, the last alerts, and the scores of the last ten minutes.
//!
//! Workers hand over each batch after its commit, so that the page never shows an alert that did not happen.

mod alerts;
mod scores;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tidemill_core::clock::now_ms;
use tidemill_core::status::Section;

pub(crate) use alerts::{Alert, KEPT};
pub(crate) use scores::Counts;

use crate::model::Source;
use crate::swap::Models;
use alerts::Alerts;
use scores::Scores;

/// What committed batches have shown.
#[derive(Default)]
pub struct Seen(Mutex<(Scores, Alerts)>);

impl Seen {
    /// Takes what a batch has shown that was committed at `now` (epoch ms).
    pub(crate) fn take(&self, now: i64, counts: &Counts, alerts: Vec<Alert>) {
        let (scores, last) = &mut *self.lock();
        scores.add(now, counts);
        last.add(alerts);
    }

    fn lock(&self) -> MutexGuard<'_, (Scores, Alerts)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The section of a scorer with these models.
pub(crate) fn section(models: Arc<Models>, seen: Arc<Seen>) -> Section {
    Section {
        script: include_str!("section.js"),
        figures: Box::new(move || {
            let (scores, alerts) = &*seen.lock();
            json!({
                "model": model(&models),
                "scores": scores.since(now_ms()),
                "alerts": alerts,
            })
        }),
        pages: None,
        latency: Some("tidemill_latency_seconds"),
        stages: &["features", "score", "publish"],
    }
}

/// The model that scores.
fn model(models: &Models) -> Value {
    let (_, model) = models.current();
    let manifest = &model.manifest;
    let inputs = manifest.inputs.iter().map(|input| {
        json!({
            "name": input.name,
            "from": match input.from {
                Source::Event => "transaction",
                Source::Features => "features",
            },
            "default": input.default,
            "max_stale_ms": input.max_stale_ms,
        })
    });
    json!({
        "sha256": model.sha256,
        "since": models.since(),
        "threshold": manifest.threshold,
        "golden": manifest.golden.len(),
        "inputs": inputs.collect::<Vec<_>>(),
    })
}
