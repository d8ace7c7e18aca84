//! The names and meanings of the collector's metrics.

use tidemill_core::metric::Metric;

/// The metrics beside those of every binary.
pub const METRICS: &[Metric] = &[
    Metric::counter("tidemill_files_total", &[], "data files published"),
    Metric::counter("tidemill_file_bytes_total", &[], "their bytes"),
    Metric::counter("tidemill_rows_total", &[], "their rows"),
    Metric::counter(
        "tidemill_rejected_total",
        &["reason"],
        "records that cannot be a row",
    ),
    Metric::counter(
        "tidemill_misfits_total",
        &[],
        "values kept in _extra because their column is missing, of another type, or too small for a list",
    ),
    Metric::counter(
        "tidemill_unknown_features_total",
        &[],
        "rows whose point-in-time features are unknown",
    ),
    Metric::counter(
        "tidemill_store_failures_total",
        &[],
        "failed attempts at writing, each followed by another",
    ),
    Metric::gauge(
        "tidemill_buffered_bytes",
        &["worker"],
        "memory that records wait in for their file, in bytes",
    ),
];
