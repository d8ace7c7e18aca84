//! Objects that exist, are missing, tampered with or too large, and stores that are away.

use super::*;
use axum::Router;
use axum::http::StatusCode;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

fn claim(path: &str, object: &[u8], length: usize) -> Vec<u8> {
    let sha256: String = Sha256::digest(object)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let text = format!(r#"{{"$claim":{{"path":"{path}","length":{length},"sha256":"{sha256}"}}}}"#);
    text.into_bytes()
}

fn resolver(location: Option<Location>) -> Resolver {
    let claims = Claims {
        location,
        max_bytes: 1 << 20,
    };
    Resolver::open(&claims, &CancellationToken::new()).unwrap()
}

async fn reason(resolver: &Resolver, value: &[u8]) -> &'static str {
    match resolver.fetch(Some(value)).await {
        Ok(Content::Unusable(reject)) => reject.reason.code(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_folder_is_told_from_its_objects() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("claims");
    fs::create_dir_all(folder.join("a")).unwrap();
    let object = b"{\"user_id\":\"u\"}";
    fs::write(folder.join("a/b"), object).unwrap();
    fs::write(place.path().join("outside"), object).unwrap();
    let claims = resolver(Some(Location::Folder(folder.clone())));
    let whole = claim("a/b", object, object.len());
    assert_eq!(
        claims.fetch(Some(&whole)).await.unwrap(),
        Content::Object(object.to_vec())
    );
    assert_eq!(claims.fetch(Some(b"{}")).await.unwrap(), Content::Own);
    assert_eq!(claims.fetch(None).await.unwrap(), Content::Own);
    let long = "x".repeat(300);
    for (path, expected) in [
        ("a/c", "claim_missing"),
        ("a", "claim_missing"),
        ("a/b/c", "claim_missing"),
        ("a/b#12", "claim_missing"),
        (long.as_str(), "claim_missing"),
        ("../outside", "claim_invalid"),
        ("a/%2e%2e/%2e%2e/outside", "claim_missing"),
    ] {
        let value = claim(path, object, object.len());
        assert_eq!(reason(&claims, &value).await, expected, "{path}");
    }
    for (object, length, expected) in [
        (object.as_slice(), object.len() + 1, "claim_tampered"),
        (b"{\"user_id\":\"v\"}", object.len(), "claim_tampered"),
        (object, (1 << 20) + 1, "claim_too_large"),
    ] {
        assert_eq!(
            reason(&claims, &claim("a/b", object, length)).await,
            expected
        );
    }
    fs::write(folder.join("a/claim"), &whole).unwrap();
    let nested = claim("a/claim", &whole, whole.len());
    assert_eq!(reason(&claims, &nested).await, "claim_invalid");
    assert_eq!(
        reason(&resolver(None), &whole).await,
        "claim_not_configured"
    );
    fs::rename(&folder, place.path().join("away")).unwrap();
    assert!(
        claims.fetch(Some(&whole)).await.is_err(),
        "the whole folder is away"
    );
}

#[tokio::test]
async fn a_bucket_that_is_away_is_waited_for() {
    let object = b"{\"user_id\":\"u\"}";
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    let pages = Router::new().fallback(async move |uri: axum::http::Uri| {
        let count = counted.fetch_add(1, Ordering::Relaxed);
        let headers = [
            ("last-modified", "Sun, 15 Feb 2026 10:30:00 GMT"),
            ("etag", "\"1\""),
        ];
        match uri.path() {
            "/bucket/at/object" if count == 0 => (StatusCode::FORBIDDEN, headers, b"".to_vec()),
            "/bucket/at/object" => (StatusCode::OK, headers, object.to_vec()),
            "/bucket/at/bucketless" => (
                StatusCode::NOT_FOUND,
                headers,
                b"<Code>NoSuchBucket</Code>".to_vec(),
            ),
            _ => (
                StatusCode::NOT_FOUND,
                headers,
                b"<Code>NoSuchKey</Code>".to_vec(),
            ),
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, pages).await });
    let builder = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region("here")
        .with_access_key_id("id")
        .with_secret_access_key("secret");
    let Ok(Location::Bucket(place)) = Location::parse("s3://bucket/at") else {
        panic!("no bucket")
    };
    let claims = Resolver {
        store: Some(Arc::new(bucket(&place, builder).unwrap())),
        ..resolver(None)
    };
    let whole = claim("object", object, object.len());
    assert!(claims.fetch(Some(&whole)).await.is_err(), "not allowed yet");
    assert_eq!(
        claims.fetch(Some(&whole)).await.unwrap(),
        Content::Object(object.to_vec())
    );
    assert_eq!(
        reason(&claims, &claim("other", object, object.len())).await,
        "claim_missing"
    );
    assert!(
        claims
            .fetch(Some(&claim("bucketless", object, object.len())))
            .await
            .is_err()
    );
}

#[test]
fn ordinary_values_need_no_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let claims = runtime.block_on(async { resolver(None) });
    drop(runtime);
    assert_eq!(
        claims.resolve(Some(b"{\"user_id\":1}")).unwrap(),
        Content::Own
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_object_holds_nobody_up_and_is_fetched_once() {
    let object = b"{\"user_id\":\"u\"}";
    let requests = Arc::new(AtomicUsize::new(0));
    let (counted, answer) = (requests.clone(), Arc::new(tokio::sync::Notify::new()));
    let answered = answer.clone();
    let pages = Router::new().fallback(async move || {
        counted.fetch_add(1, Ordering::Relaxed);
        answered.notified().await;
        let headers = [
            ("last-modified", "Sun, 15 Feb 2026 10:30:00 GMT"),
            ("etag", "\"1\""),
        ];
        (headers, object.to_vec())
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, pages).await });
    let builder = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region("here")
        .with_access_key_id("id")
        .with_secret_access_key("secret");
    let Ok(Location::Bucket(place)) = Location::parse("s3://bucket/at") else {
        panic!("no bucket")
    };
    let claims = Resolver {
        store: Some(Arc::new(bucket(&place, builder).unwrap())),
        ..resolver(None)
    };
    let whole = claim("object", object, object.len());
    let resolved = tokio::task::spawn_blocking(move || {
        let mut fetches = super::super::Fetches::new(claims);
        assert!(
            fetches.resolve(0, Some(&whole)).is_err(),
            "nothing was answered yet"
        );
        assert_eq!(fetches.resolve(1, Some(b"{}")).unwrap(), Content::Own);
        answer.notify_one();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match fetches.resolve(0, Some(&whole)) {
                Ok(content) => return content,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        }
    });
    assert_eq!(resolved.await.unwrap(), Content::Object(object.to_vec()));
    assert_eq!(requests.load(Ordering::Relaxed), 1);
}
