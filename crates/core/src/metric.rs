//! The metrics that a binary exposes: one table of names, labels and meanings, which `/metrics` and the README repeat.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, histogram};
use std::time::Duration;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How values are distributed.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, which stays.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, with its unit.
    pub help: &'static str,
}

impl Metric {
    /// A counter.
    pub const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self::new(Kind::Counter, name, labels, help)
    }

    /// A gauge.
    pub const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self::new(Kind::Gauge, name, labels, help)
    }

    /// A histogram.
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

    /// Has the recorder tell what the metric is; a counter without labels is exposed as 0 from now on, so that its
    /// first increment is seen as one.
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

/// Notes how long a stage of a batch took.
pub fn stage(name: &'static str, took: Duration) {
    histogram!("tidemill_stage_seconds", "stage" => name).record(took);
}

/// Describes the shared metrics and a binary's own to the process's recorder.
pub(crate) fn register(own: &[Metric]) {
    SHARED.iter().chain(own).for_each(Metric::register);
}
