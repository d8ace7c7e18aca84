//! The last alerts, each with what led to it.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use tidemill_core::kafka::Record;

use crate::input::batch::Row;
use crate::output::prediction::Times;

/// Alerts that are kept.
pub(crate) const KEPT: usize = 100;

/// Characters of an id that are kept: a page needs no more, and ids may be long.
const LONGEST: usize = 200;

/// A committed fraud.
#[derive(Debug, Serialize)]
pub(crate) struct Alert {
    id: String,
    score: f64,
    threshold: f64,
    partition: i32,
    offset: i64,
    #[serde(flatten)]
    times: Milestones,
    #[serde(serialize_with = "as_list")]
    names: Arc<[String]>,
    inputs: Vec<f64>,
    statuses: Vec<&'static str>,
}

/// The record's Kafka timestamp and what came after it, in epoch milliseconds.
#[derive(Debug, Serialize)]
struct Milestones {
    produced: Option<i64>,
    fetched: i64,
    features: i64,
    scored: i64,
    committed: i64,
}

impl Alert {
    /// The alert of a row of a batch that was committed at `committed`; `names` are those of the inputs.
    pub(crate) fn of(
        (record, row): (&Record<'_>, &Row<'_>),
        (score, threshold): (f64, f64),
        (times, committed): (Times, i64),
        names: &Arc<[String]>,
    ) -> Self {
        Self {
            id: row.id.chars().take(LONGEST).collect(),
            score,
            threshold,
            partition: record.partition(),
            offset: record.offset(),
            times: Milestones {
                produced: record.timestamp(),
                fetched: times.fetched,
                features: times.features,
                scored: times.scored,
                committed,
            },
            names: names.clone(),
            inputs: row.inputs.to_vec(),
            statuses: row.statuses.iter().map(|status| status.name()).collect(),
        }
    }
}

fn as_list<S: Serializer>(names: &Arc<[String]>, serializer: S) -> Result<S::Ok, S::Error> {
    names.as_ref().serialize(serializer)
}

/// The last alerts, the newest first.
#[derive(Debug, Default, Serialize)]
pub(super) struct Alerts(VecDeque<Alert>);

impl Alerts {
    /// Adds alerts in the order in which they came.
    pub(super) fn add(&mut self, alerts: Vec<Alert>) {
        for alert in alerts {
            self.0.push_front(alert);
        }
        self.0.truncate(KEPT);
    }
}
