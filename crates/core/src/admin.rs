//! The admin pages over HTTP: `/metrics` for Prometheus, `/healthz` and `/readyz` for supervisors, `/` for people.

use crate::exit::Failure;
use crate::health::Health;
use crate::metric;
use crate::settings::{AdminAddr, Binary, Shared};
use crate::status::{self, Section};
use anyhow::Context;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Upper bounds of latency histograms in seconds: fine around the 100 ms that a prediction may take.
const SECONDS: [f64; 16] = [
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 5.0,
    30.0,
];

/// Upper bounds of the histogram of batch sizes.
const RECORDS: [f64; 5] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];

/// Serves the admin pages of `binary`, with its `section` of the live page, until the process ends, and returns their
/// address; without an address it only collects metrics.
///
/// An address that nobody gave, and that is in use, is replaced by a free port, with a warning; a given one in use is an
/// error.
pub async fn serve(
    binary: &Binary,
    shared: &Shared,
    health: Arc<Health>,
    section: Section,
    shutdown: CancellationToken,
) -> anyhow::Result<Option<SocketAddr>> {
    let metrics = recorder()?;
    metric::register(binary.metrics);
    let labels = [("binary", binary.name), ("version", binary.version)];
    metrics::gauge!("tidemill_build_info", &labels).set(1.0);
    let Some(AdminAddr { addr, default }) = shared.admin else {
        return Ok(None);
    };
    let mut listener = TcpListener::bind(addr).await;
    let taken = |error: &Error| default && error.kind() == ErrorKind::AddrInUse;
    let is_taken = listener.as_ref().is_err_and(taken);
    if is_taken {
        listener = TcpListener::bind(SocketAddr::new(addr.ip(), 0)).await;
    }
    let listener = listener.map_err(|error| {
        Failure::usage(format!(
            "--admin-addr {addr}: {error}; give another address, or none"
        ))
    })?;
    let bound = listener.local_addr()?;
    if is_taken {
        let name = binary.name;
        tracing::warn!(
            "{addr} is taken (by another {name}?): admin pages at http://{bound} instead; --admin-addr chooses"
        );
    } else {
        tracing::info!("admin pages at http://{bound}: / for people, /metrics, /healthz, /readyz");
    }
    let live = status::pages(binary, shared, health.clone(), section, metrics, bound.ip());
    let pages = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get({
                let health = health.clone();
                move || async move { readiness(&health) }
            }),
        )
        .route(
            "/metrics",
            get(move || async move { page(metrics, &health) }),
        )
        .merge(live);
    tokio::spawn(async move {
        let served =
            axum::serve(listener, pages).with_graceful_shutdown(shutdown.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "the admin pages are gone");
        }
    });
    Ok(Some(bound))
}

fn readiness(health: &Health) -> (StatusCode, String) {
    match health.reasons() {
        reasons if reasons.is_empty() => (StatusCode::OK, "ready\n".into()),
        reasons => (StatusCode::SERVICE_UNAVAILABLE, reasons),
    }
}

fn page(
    metrics: &PrometheusHandle,
    health: &Health,
) -> ([(header::HeaderName, &'static str); 1], String) {
    let ready = health.reasons().is_empty();
    metrics::gauge!("tidemill_ready").set(f64::from(u8::from(ready)));
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, metrics.render())
}

/// The process's one recorder; the first call installs it.
fn recorder() -> anyhow::Result<&'static PrometheusHandle> {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = RECORDER.get() {
        return Ok(handle);
    }
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(|builder| {
            let batches = Matcher::Full("tidemill_batch_records".into());
            builder.set_buckets_for_metric(batches, &RECORDS)
        })
        .context("histogram buckets")?
        .build_recorder();
    let handle = RECORDER.get_or_init(|| recorder.handle());
    // Another thread may have installed its own meanwhile: then its metrics are the ones served.
    if metrics::set_global_recorder(recorder).is_ok() {
        let upkeep = handle.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(5)).await;
                upkeep.run_upkeep();
            }
        });
    }
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_is_not_ready() {
        let health = Health::starting();
        let unready = (StatusCode::SERVICE_UNAVAILABLE, "start: starting\n".into());
        assert_eq!(readiness(&health), unready);
        health.part("start").ready();
        assert_eq!(readiness(&health), (StatusCode::OK, "ready\n".into()));
    }
}
