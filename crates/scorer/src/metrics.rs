//! The names and meanings of the scorer's metrics.

use tidemill_core::metric::Metric;

/// The metrics beside those of every binary.
pub const METRICS: &[Metric] = &[
    Metric::histogram(
        "tidemill_latency_seconds",
        &[],
        "Kafka timestamp of a batch's oldest transaction until its prediction is committed",
    ),
    Metric::counter("tidemill_predictions_total", &[], "predictions committed"),
    Metric::counter(
        "tidemill_frauds_total",
        &[],
        "predictions above the threshold",
    ),
    Metric::counter(
        "tidemill_dead_letters_total",
        &["topic", "reason"],
        "records that cannot be used, by the topic they came from",
    ),
    Metric::counter(
        "tidemill_feature_inputs_total",
        &["status"],
        "inputs from the feature store: ok, stale, ahead, empty or default",
    ),
    Metric::counter(
        "tidemill_unreadable_users_total",
        &[],
        "reads of users whose key in Redis holds something else than features",
    ),
    Metric::gauge(
        "tidemill_model_info",
        &["sha256"],
        "1 for the model that scores, 0 for its predecessors",
    ),
    Metric::counter("tidemill_model_swaps_total", &[], "changed models taken up"),
    Metric::counter(
        "tidemill_models_refused_total",
        &[],
        "changed models that cannot be used",
    ),
    Metric::counter(
        "tidemill_transactions_undone_total",
        &[],
        "batches that were undone and done over",
    ),
    Metric::histogram("tidemill_batch_records", &[], "records of a batch"),
];
