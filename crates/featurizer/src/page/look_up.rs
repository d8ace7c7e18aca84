//! `/user.json?id=...`: one user's stored values and the last events behind them, read from Redis alone.

use super::pace::Pace;
use crate::settings::Config;
use crate::store::{Door, Keys, Lost, Peek, Redis, peek};
use crate::users::{Erasures, User};
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tidemill_core::clock::now_ms;
use tidemill_core::features::{Definitions, Limits};

/// Events that are shown.
const EVENTS: usize = 200;

/// The longest user_id.
const LONGEST: usize = 512;

/// The connection and what it is read with.
struct LookUp {
    pace: Mutex<Pace>,
    redis: Mutex<Redis>,
    keys: Keys,
    definitions: Definitions,
    limits: Limits,
}

/// The page that looks a user up.
pub(super) fn pages(config: &Config) -> anyhow::Result<Router> {
    let look_up = LookUp {
        pace: Mutex::default(),
        redis: Mutex::new(Redis::new(&config.redis)?),
        keys: Keys::new(&config.key_prefix, &config.shared.topic),
        definitions: config.definitions.clone(),
        limits: config.limits,
    };
    let route = get(answer).with_state(Arc::new(look_up));
    Ok(Router::new().route("/user.json", route))
}

async fn answer(State(look_up): State<Arc<LookUp>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let user = pairs.find_map(|(name, value)| (name == "id").then(|| value.into_owned()));
    let user = user.unwrap_or_default();
    if user.is_empty() || user.len() > LONGEST {
        let text = format!("give a user_id of 1 to {LONGEST} bytes: /user.json?id=u_1\n");
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    if !look_up.admits() {
        let text = "at most 4 users are looked up in a second: ask again\n";
        return (StatusCode::TOO_MANY_REQUESTS, text).into_response();
    }
    let found = tokio::task::spawn_blocking(move || look_up.find(&user)).await;
    match found {
        Ok(Ok(user)) => {
            let kind = [(header::CONTENT_TYPE, "application/json")];
            (kind, user.to_string()).into_response()
        }
        Ok(Err(Lost(error))) => {
            let text = format!("Redis does not answer: {error}\n");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
        Err(error) => {
            let text = format!("the look-up failed: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

impl LookUp {
    /// True if the pace allows one now.
    fn admits(&self) -> bool {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.admits(Instant::now())
    }

    fn find(&self, user: &str) -> Result<Value, Lost> {
        let mut redis = self.redis.lock().unwrap_or_else(PoisonError::into_inner);
        if !redis.is_connected() {
            redis.connect()?;
        }
        let found = peek(&mut redis, &self.keys, user, 1);
        drop(redis);
        Ok(self.shown(user, &found?, now_ms()))
    }

    /// What is shown of a user's stored state at `now` (epoch ms).
    fn shown(&self, user: &str, stored: &Peek, now: i64) -> Value {
        let hash: BTreeMap<&str, &str> = stored
            .hash
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let time = |name: &str| hash.get(name).and_then(|text| text.parse::<i64>().ok());
        let decoded = stored
            .window
            .as_deref()
            .map(|bytes| User::decode(&self.definitions, &self.limits, bytes, Erasures::default()));
        let is_foreign = matches!(decoded, Some(None));
        let decoded = decoded.flatten();
        let window = decoded.as_ref().map(User::window);
        let (kept, minutes) = window.map_or((0, 0), |window| window.kept(&self.definitions));
        let events = window.map(|window| window.last_events(&self.definitions, EVENTS));
        let events = events.unwrap_or_default().into_iter().rev().map(|event| {
            let numbers: BTreeMap<&str, f64> = event.numbers.into_iter().collect();
            json!({"time": event.time, "numbers": numbers, "features": event.features})
        });
        json!({
            "user": user,
            "now": now,
            "found": !hash.is_empty(),
            "values": hash,
            "as_of": time("_as_of"),
            "valid_until": time("_valid_until"),
            "complete_from": time("_complete_from"),
            "exact": hash.get("_exact") != Some(&"0"),
            "other_definitions": is_foreign,
            "events": events.collect::<Vec<_>>(),
            "kept": kept,
            "summed_minutes": minutes,
        })
    }
}
