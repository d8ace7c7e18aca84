//! The live page of a process, and the JSON behind it: `/` and `/status.json`, the same for all programs but for one
//! section of each.
//!
//! - `exposition`, `history`: the process's own metrics once a second, and the last ten minutes of them
//! - `report`: what `/status.json` answers
//! - `remedy`: what to do about each reason for not being ready
//! - `access`: who may see records and users
//!
//! The hot path does nothing for it: every figure is read from the metrics, so that the page and `/metrics` cannot differ.

mod access;
mod exposition;
mod history;
mod remedy;
mod report;

pub use access::Token;

use crate::health::Health;
use crate::settings::{Binary, Shared};
use access::{Access, Verdict};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use history::{History, Reading};
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// Nothing but our own files is loaded, no markup is made of text (`require-trusted-types-for`), nobody frames the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Headers of every page: they hold people's records, so nobody keeps or embeds them.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// The largest login form that is read.
const FORM: usize = 4096;

/// A program's part of its page.
pub struct Section {
    /// A JavaScript module whose `begin(place)` returns the function that shows the section's figures.
    pub script: &'static str,
    /// The section's figures, as `own` in `/status.json`.
    pub figures: Box<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// Further pages, under the same rules of access.
    pub pages: Option<Router>,
    /// The histogram of the program's latency, if it has one.
    pub latency: Option<&'static str>,
    /// The stages that a batch passes one after the other.
    pub stages: &'static [&'static str],
}

/// What the pages of a process are made of.
struct Pages {
    binary: Binary,
    shared: Shared,
    health: Arc<Health>,
    section: Section,
    metrics: &'static PrometheusHandle,
    history: Mutex<History>,
    started: (Instant, i64),
}

/// The pages of a process whose admin address is on `ip`.
pub(crate) fn pages(
    binary: &Binary,
    shared: &Shared,
    health: Arc<Health>,
    mut section: Section,
    metrics: &'static PrometheusHandle,
    ip: IpAddr,
) -> Router {
    let own = section.pages.take().unwrap_or_default();
    let pages = Arc::new(Pages {
        binary: *binary,
        shared: shared.clone(),
        health,
        section,
        metrics,
        history: Mutex::default(),
        started: (Instant::now(), crate::clock::now_ms()),
    });
    tokio::spawn(remember(pages.clone()));
    let access = Arc::new(Access::new(ip, shared.admin_token.clone()));
    let script = pages.section.script;
    let guarded = Router::new()
        .route("/", get(|| file(HTML, include_str!("page/index.html"))))
        .route("/status.json", get(status))
        .with_state(pages)
        .merge(own)
        .layer(middleware::from_fn_with_state(access.clone(), guard));
    let files = [
        (
            "/page.css",
            "text/css; charset=utf-8",
            include_str!("page/page.css"),
        ),
        ("/page.js", SCRIPT, include_str!("page/page.js")),
        ("/draw.js", SCRIPT, include_str!("page/draw.js")),
        ("/plot.js", SCRIPT, include_str!("page/plot.js")),
        ("/section.js", SCRIPT, script),
        ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ];
    let open = Router::new()
        .route("/login", post(login))
        .with_state(access);
    let open = files.into_iter().fold(open, |open, (path, kind, text)| {
        open.route(path, get(move || file(kind, text)))
    });
    guarded.merge(open).layer(middleware::map_response(sealed))
}

/// The types of our files.
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

async fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind)], text)
}

async fn sealed(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        let value = header::HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// Lets through who may see records and users.
async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let is_page = request.uri().path() == "/";
    match access.judge(request.headers()).await {
        Verdict::Welcome => next.run(request).await,
        Verdict::TokenNeeded if is_page => {
            let form = Html(include_str!("page/login.html"));
            (StatusCode::FORBIDDEN, form).into_response()
        }
        Verdict::TokenNeeded => refusal(access::TOKEN_NEEDED),
        Verdict::Refused(remedy) => refusal(remedy),
    }
}

fn refusal(remedy: &'static str) -> Response {
    (StatusCode::FORBIDDEN, remedy).into_response()
}

/// Answers the login form: with the right token, a cookie and the page.
async fn login(State(access): State<Arc<Access>>, request: Request) -> Response {
    let Ok(body) = axum::body::to_bytes(request.into_body(), FORM).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the form is too large\n").into_response();
    };
    let mut fields = url::form_urlencoded::parse(&body);
    let token = fields.find_map(|(name, value)| (name == "token").then_some(value));
    match access.login(&token.unwrap_or_default()).await {
        Some(cookie) => {
            let headers = [(header::SET_COOKIE, cookie), (header::LOCATION, "/".into())];
            (StatusCode::SEE_OTHER, headers).into_response()
        }
        None => refusal(access::WRONG_TOKEN),
    }
}

/// Reads the metrics once a second for as long as the process runs.
async fn remember(pages: Arc<Pages>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let text = pages.metrics.render();
        let at = pages.started.0.elapsed();
        let section = &pages.section;
        let reading = Reading::of(&text, at, section.latency, section.stages);
        let mut history = pages.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.add(reading);
    }
}

async fn status(State(pages): State<Arc<Pages>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], pages.report())
}
