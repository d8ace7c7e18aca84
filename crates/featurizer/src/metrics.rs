//! Names and meanings of the featurizer's metrics.

use tidemill_core::metric::Metric;

/// The featurizer's metrics, on top of those that every binary has.
pub const METRICS: &[Metric] = &[
    Metric::histogram(
        "tidemill_freshness_seconds",
        &[],
        "Kafka timestamp of a batch's oldest event until its features can be read",
    ),
    Metric::gauge(
        "tidemill_decay_backlog",
        &["worker"],
        "users whose features should have been evaluated again by now",
    ),
    Metric::counter(
        "tidemill_dead_letters_total",
        &["topic", "reason"],
        "records that cannot be used, by the topic they came from",
    ),
    Metric::counter(
        "tidemill_user_writes_total",
        &[],
        "users whose features were evaluated, each once a transaction",
    ),
    Metric::counter(
        "tidemill_window_writes_total",
        &[],
        "windows stored, each whole or what is new of it",
    ),
    Metric::counter(
        "tidemill_steps_total",
        &[],
        "transactions that Redis has executed",
    ),
    Metric::counter("tidemill_user_loads_total", &[], "users read from Redis"),
    Metric::counter(
        "tidemill_adopted_users_total",
        &[],
        "users that came in another partition than before",
    ),
    Metric::counter(
        "tidemill_refused_commands_total",
        &[],
        "commands on hashes that Redis answered with an error",
    ),
    Metric::counter(
        "tidemill_interruptions_total",
        &[],
        "returns to the stored positions: lost connections, refused transactions, new owners",
    ),
    Metric::gauge(
        "tidemill_unsaved_users",
        &["worker"],
        "users that are newer in memory than their stored window; their records are read again after a crash",
    ),
    Metric::gauge("tidemill_cached_users", &["worker"], "users in memory"),
    Metric::gauge(
        "tidemill_cached_bytes",
        &["worker"],
        "memory that they take, in bytes",
    ),
];
