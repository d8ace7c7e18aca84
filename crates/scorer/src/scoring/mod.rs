//! Scores batches with the current model: joins the features, runs the rows, and bounds their number ([`quota`]).

pub mod quota;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use self::quota::Quota;
use crate::features::client::Features;
use crate::features::join::Join;
use crate::features::status::Status;
use crate::input::batch::Batch;
use crate::input::decode::Decoder;
use crate::model::{Loaded, Session};
use crate::output::prediction::Times;
use crate::shared::Shared;
use tidemill_core::clock::now_ms;
use tidemill_core::metric::stage;

/// Time that a batch may wait for the features of each user, beside the configured time for any batch.
const EACH_USER: Duration = Duration::from_micros(10);

/// Age of a batch's oldest record, in milliseconds, from which on its features matter more than its latency.
const LATE_MS: i64 = 1_000;

/// Time that a late batch may wait for features.
const LATE_WAIT: Duration = Duration::from_secs(1);

/// A worker's model with all that it needs.
pub struct Scoring {
    model: Arc<Loaded>,
    version: u64,
    decoder: Decoder,
    session: Session,
    features: Option<(Join, Features)>,
    timeout: Duration,
    quota: Quota,
}

/// A scored batch: one score for each row.
pub struct Scored {
    /// The model that gave the scores.
    pub model: Arc<Loaded>,
    /// Not a number where the model failed.
    pub scores: Vec<f64>,
    /// When the batch passed its stages, in epoch milliseconds.
    pub times: Times,
}

impl Scoring {
    /// Takes up the current model.
    ///
    /// # Errors
    ///
    /// The model cannot be set up, or the feature store's URL is none.
    pub fn new(shared: &Shared) -> anyhow::Result<Self> {
        let (version, model) = shared.models.current();
        let features = match Join::new(&model.manifest) {
            Some(join) => Some((join, open_features(shared)?)),
            None => None,
        };
        Ok(Scoring {
            decoder: Decoder::new(&model.manifest),
            session: Session::new(&model)?,
            features,
            timeout: shared.config.feature_timeout,
            quota: Quota::default(),
            version,
            model,
        })
    }

    /// Takes up a newer model, if there is one. To be called between batches.
    ///
    /// # Errors
    ///
    /// As [`Scoring::new`].
    pub fn follow(&mut self, shared: &Shared) -> anyhow::Result<()> {
        if shared.models.version() == self.version {
            return Ok(());
        }
        let (version, model) = shared.models.current();
        let connection = self.features.take().map(|(_, features)| features);
        if let Some(join) = Join::new(&model.manifest) {
            let features = match connection {
                Some(features) => features,
                None => open_features(shared)?,
            };
            self.features = Some((join, features));
        }
        self.decoder = Decoder::new(&model.manifest);
        self.session = Session::new(&model)?;
        self.quota = Quota::default();
        (self.version, self.model) = (version, model);
        Ok(())
    }

    /// The decoder of the current model.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Most records of the next batch, by what the model takes for a row.
    pub fn quota(&self) -> usize {
        self.quota.rows()
    }

    /// Scores the rows of a batch; those that have no score become rejects.
    pub fn score(&mut self, batch: &mut Batch<'_>) -> Scored {
        let started = Instant::now();
        let fetched = now_ms();
        if let Some((join, features)) = &mut self.features {
            let age_ms = batch.oldest_ms().map_or(0, |oldest| fetched - oldest);
            let limit = longest_wait(self.timeout, batch.users().len(), age_ms);
            fill(join, features, limit, batch);
            count(join, batch);
            stage("features", started.elapsed());
        }
        let (joined, joined_at) = (Instant::now(), now_ms());
        let mut scores = Vec::with_capacity(batch.row_count());
        let failures = self.session.score(batch.inputs(), &mut scores);
        batch.reject_unscored(&self.model, &scores, failures);
        self.quota.took(scores.len(), joined.elapsed());
        stage("score", joined.elapsed());
        let times = Times {
            fetched,
            features: joined_at,
            scored: now_ms(),
        };
        Scored {
            model: self.model.clone(),
            scores,
            times,
        }
    }
}

/// Longest wait for the features of a batch of so many users, whose oldest record is `age_ms` old.
fn longest_wait(configured: Duration, users: usize, age_ms: i64) -> Duration {
    let users = u32::try_from(users).unwrap_or(u32::MAX);
    let wait = configured + EACH_USER.saturating_mul(users);
    if age_ms > LATE_MS {
        wait.max(LATE_WAIT)
    } else {
        wait
    }
}

fn open_features(shared: &Shared) -> anyhow::Result<Features> {
    let config = &shared.config;
    let runtime = shared.runtime.clone();
    Features::open(&config.redis, &config.key_prefix, runtime).context("--redis-url")
}

/// Reads the features of the batch's users and fills them into the rows.
fn fill(join: &Join, features: &mut Features, limit: Duration, batch: &mut Batch<'_>) {
    if batch.users().is_empty() {
        return;
    }
    let stored = features.read(batch.users(), join.fields(), limit);
    batch.fill_features(|user, time, inputs, statuses| {
        let stored = stored
            .as_ref()
            .and_then(|users| users.get(user)?.as_deref());
        join.fill(stored, time, inputs, statuses);
    });
}

/// Counts the features of the batch by their status.
fn count(join: &Join, batch: &Batch<'_>) {
    let rows = batch.statuses();
    let statuses = rows.flat_map(|row| join.columns().map(|column| row[column]));
    let mut counts = [0; Status::ALL.len()];
    for status in statuses {
        counts[status as usize] += 1;
    }
    for (status, count) in Status::ALL.into_iter().zip(counts) {
        let status = status.name();
        metrics::counter!("tidemill_feature_inputs_total", "status" => status).increment(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_waited_for_by_the_number_of_users_and_longer_when_late() {
        let wait = |users, age_ms| longest_wait(Duration::from_millis(20), users, age_ms);
        assert_eq!(wait(0, 0), Duration::from_millis(20));
        assert_eq!(wait(1, -5_000), Duration::from_micros(20_010));
        assert_eq!(wait(10_000, 1_000), Duration::from_millis(120));
        assert_eq!(wait(1, 1_001), Duration::from_secs(1));
        assert_eq!(wait(200_000, 1_001), Duration::from_millis(2_020));
    }
}
