//! The metrics that a binary exposes: one table of names, labels and meanings, repeated by `/metrics` and docs/reference/metrics.md.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, histogram};
use std::time::Duration;

/// The kind of a metric, as in Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process runs.
    Counter,
    /// Goes up and down.
    Gauge,
    /// The distribution of values.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Name; stable, since dashboards use it.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// Names of the labels.
    pub labels: &'static [&'static str],
    /// Meaning, with the unit.
    pub help: &'static str,
}

impl Metric {
    /// A counter, which only grows.
    pub const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self::new(Kind::Counter, name, labels, help)
    }

    /// A gauge, which goes up and down.
    pub const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self::new(Kind::Gauge, name, labels, help)
    }

    /// A histogram of values.
    pub const fn histogram(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self::new(Kind::Histogram, name, labels, help)
    }

    const fn new(
        kind: Kind,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            labels,
            help,
        }
    }

    /// Describes the metric to the recorder; exposes a counter without labels as 0 from now on, so that its first
    /// increment is visible.
    fn register(&self) {
        match self.kind {
            Kind::Counter => describe_counter!(self.name, self.help),
            Kind::Gauge => describe_gauge!(self.name, self.help),
            Kind::Histogram => describe_histogram!(self.name, self.help),
        }
        if self.kind == Kind::Counter && self.labels.is_empty() {
            counter!(self.name).increment(0);
        }
    }
}

/// The metrics of every binary.
pub const SHARED: &[Metric] = &[
    Metric::gauge(
        "tidemill_build_info",
        &["binary", "version"],
        "always 1; the labels say what runs",
    ),
    Metric::gauge("tidemill_ready", &[], "1 when /readyz says ready, else 0"),
    Metric::gauge(
        "tidemill_lag_records",
        &["topic", "partition"],
        "offsets between the committed position and the end of a partition; 0 where no readable record is left",
    ),
    Metric::gauge(
        "tidemill_lag_seconds",
        &["topic", "partition"],
        "age of the first record of a partition that is not committed yet; 0 where there is none",
    ),
    Metric::counter(
        "tidemill_rebalances_total",
        &[],
        "assignments and revocations of partitions",
    ),
    Metric::counter("tidemill_records_total", &[], "records read"),
    Metric::counter(
        "tidemill_claims_total",
        &["result"],
        "claims met: resolved, unusable or unavailable",
    ),
    Metric::counter(
        "tidemill_lost_records_total",
        &[],
        "offsets that retention deleted before they were read",
    ),
    Metric::histogram(
        "tidemill_stage_seconds",
        &["stage"],
        "time that a stage takes for a batch",
    ),
];

/// Records the time that a stage took for a batch.
pub fn stage(name: &'static str, took: Duration) {
    histogram!("tidemill_stage_seconds", "stage" => name).record(took);
}

/// Describes the shared metrics and a binary's own to the process's recorder.
pub(crate) fn register(own: &[Metric]) {
    SHARED.iter().chain(own).for_each(Metric::register);
}
