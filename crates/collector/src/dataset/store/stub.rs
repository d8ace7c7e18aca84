//! An S3 that tests can start: conditional puts, ranges, listings, and the faults that stores are known for.
//!
//! The end-to-end tests include this file too, so that it stands on its own.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The faults of the stub.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Every request but each n-th is answered 503.
    pub(crate) busy: Option<usize>,
    /// Each n-th request is answered 500 without having done anything.
    pub(crate) hiccups: Option<usize>,
    /// The first put of each key is stored, but its answer is a 500.
    pub(crate) lost_answers: bool,
    /// Puts wait this long before they take effect.
    pub(crate) slow: Duration,
    /// Puts are forbidden.
    pub(crate) read_only: bool,
    /// `If-None-Match` is not honoured.
    pub(crate) overwrites: bool,
    /// Keys of a listing's page; 2 where it is 0, so that readers have to turn pages.
    pub(crate) page: usize,
}

/// The stub's objects by key.
#[derive(Clone, Default)]
pub(crate) struct Stub {
    pub(crate) objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    /// Listings that were asked for.
    pub(crate) lists: Arc<Mutex<usize>>,
    /// Requests of every kind.
    pub(crate) requests: Arc<Mutex<usize>>,
    faults: Faults,
}

impl Stub {
    /// Starts a stub, which ends with the runtime; its endpoint for clients, which find any bucket there.
    pub(crate) async fn start(faults: Faults) -> (Self, String) {
        let stub = Self {
            faults,
            ..Self::default()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let pages = Router::new().fallback(answer).with_state(stub.clone());
        tokio::spawn(async move { axum::serve(listener, pages).await });
        (stub, endpoint)
    }
}

async fn answer(State(stub): State<Stub>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let number = {
        let mut requests = stub.requests.lock().unwrap();
        *requests += 1;
        *requests
    };
    if stub.faults.busy.is_some_and(|every| number % every != 0) {
        return status(StatusCode::SERVICE_UNAVAILABLE);
    }
    if stub.faults.hiccups.is_some_and(|every| number % every == 0) {
        return status(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let path = parts
        .uri
        .path()
        .trim_start_matches("/bucket")
        .trim_start_matches('/');
    let key = decode(path);
    match parts.method {
        Method::PUT if stub.faults.read_only => status(StatusCode::FORBIDDEN),
        Method::PUT => put(&stub, key, body, &parts.headers).await,
        Method::DELETE => {
            stub.objects.lock().unwrap().remove(&key);
            status(StatusCode::NO_CONTENT)
        }
        Method::GET if key.is_empty() => list(&stub, parts.uri.query().unwrap_or_default()),
        _ => get(&stub, &key, &parts.headers),
    }
}

async fn put(stub: &Stub, key: String, body: Bytes, headers: &HeaderMap) -> Response {
    tokio::time::sleep(stub.faults.slow).await;
    let mut objects = stub.objects.lock().unwrap();
    let exists = objects.contains_key(&key);
    if exists && headers.contains_key("if-none-match") && !stub.faults.overwrites {
        return status(StatusCode::PRECONDITION_FAILED);
    }
    objects.insert(key, body);
    match stub.faults.lost_answers && !exists {
        true => status(StatusCode::INTERNAL_SERVER_ERROR),
        false => Response::builder()
            .header("ETag", "\"e\"")
            .body(Body::empty())
            .unwrap(),
    }
}

fn get(stub: &Stub, key: &str, headers: &HeaderMap) -> Response {
    let objects = stub.objects.lock().unwrap();
    let Some(object) = objects.get(key) else {
        return status(StatusCode::NOT_FOUND);
    };
    let whole = object.len();
    let found = Response::builder()
        .header("ETag", "\"e\"")
        .header("Last-Modified", "Tue, 01 Jan 2030 00:00:00 GMT");
    let range = headers.get("range").map(|range| range.to_str().unwrap());
    let Some(range) = range.and_then(|range| range.strip_prefix("bytes=")) else {
        return found.body(object.clone().into()).unwrap();
    };
    let (start, end) = match range.split_once('-').unwrap() {
        ("", suffix) => (whole.saturating_sub(suffix.parse().unwrap()), whole),
        (start, end) => (start.parse().unwrap(), end.parse::<usize>().unwrap() + 1),
    };
    found
        .status(StatusCode::PARTIAL_CONTENT)
        .header(
            "Content-Range",
            format!("bytes {start}-{}/{whole}", end - 1),
        )
        .body(object.slice(start..end).into())
        .unwrap()
}

fn list(stub: &Stub, query: &str) -> Response {
    *stub.lists.lock().unwrap() += 1;
    let size = match stub.faults.page {
        0 => 2,
        size => size,
    };
    let query: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let get = |name: &str| query.get(name).cloned().unwrap_or_default();
    let (prefix, whole) = (get("prefix"), get("delimiter").is_empty());
    let after = get("continuation-token").max(get("start-after"));
    let objects = stub.objects.lock().unwrap();
    let own = objects.range::<String, _>((Bound::Excluded(&after), Bound::Unbounded));
    let own = own.filter(|(key, _)| key.starts_with(&prefix));
    let own = own.filter(|(key, _)| whole || !key[prefix.len()..].contains('/'));
    let mut page: Vec<_> = own.take(size + 1).collect();
    let more = page.len() > size;
    page.truncate(size);
    let mut xml = String::from("<ListBucketResult>");
    for (key, object) in &page {
        let (key, size) = (key.replace('&', "&amp;").replace('<', "&lt;"), object.len());
        xml += &format!(
            "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>e</ETag>\
             <LastModified>2030-01-01T00:00:00.000Z</LastModified></Contents>"
        );
    }
    if let (true, Some((last, _))) = (more, page.last()) {
        let last = last.replace('&', "&amp;").replace('<', "&lt;");
        xml += &format!("<NextContinuationToken>{last}</NextContinuationToken>");
    }
    Response::new((xml + "</ListBucketResult>").into())
}

fn status(code: StatusCode) -> Response {
    Response::builder()
        .status(code)
        .body(Body::empty())
        .unwrap()
}

fn decode(path: &str) -> String {
    let plus = path.replace('+', "%2B");
    let (key, _) = url::form_urlencoded::parse(plus.as_bytes())
        .next()
        .unwrap_or_default();
    key.into_owned()
}
