//! The four default features of every user, recomputed from the whole topic and compared with Redis.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::kafka::Stored;

/// The window of the default features: 24 hours in milliseconds.
const WINDOW_MS: i64 = 86_400_000;

/// Limit of an event's time after its record's own: 5 minutes in milliseconds.
const FUTURE_MS: i64 = 300_000;

/// A user's actions: event time (epoch ms), and the amount of a purchase.
type History = Vec<(i64, Option<f64>)>;

/// Every user's usable events, by the record contract. A null value drops the user's earlier events.
pub fn histories(records: &[Stored]) -> BTreeMap<String, History> {
    let mut users: BTreeMap<String, History> = BTreeMap::new();
    for record in records {
        match &record.value {
            None => {
                if let Some(key) = record
                    .key
                    .as_ref()
                    .and_then(|key| std::str::from_utf8(key).ok())
                {
                    users.remove(key);
                }
            }
            Some(value) => {
                if let Some((user, time_ms, purchase)) = usable(value, record.timestamp_ms) {
                    users.entry(user).or_default().push((time_ms, purchase));
                }
            }
        }
    }
    users
}

/// User, time and, for a purchase, its amount; `None` for a record that must become a dead letter.
fn usable(value: &[u8], record_ms: Option<i64>) -> Option<(String, i64, Option<f64>)> {
    let json: Value = serde_json::from_slice(value).ok()?;
    let fields = json.as_object()?;
    let field = |name| fields.get(name).filter(|value| !value.is_null());
    let user = match field("user_id")? {
        Value::String(text) => text.clone(),
        Value::Number(number) if !number.is_f64() => number.to_string(),
        _ => return None,
    };
    if !(1..=512).contains(&user.len()) {
        return None;
    }
    let purchase = match field("action") {
        None => true,
        Some(Value::String(action)) => action == "purchase",
        Some(_) => return None,
    };
    let amount = match field("amount") {
        None => 0.0,
        Some(amount) => amount.as_f64()?,
    };
    let time_ms = match field("timestamp") {
        None => record_ms?,
        Some(Value::String(text)) => {
            let time: jiff::Timestamp = text.parse().ok()?;
            (time.as_nanosecond() as f64 / 1e6).round() as i64
        }
        Some(Value::Number(number)) => {
            let number = number.as_f64()?;
            (if number.abs() < 1e11 {
                number * 1_000.0
            } else {
                number
            })
            .round() as i64
        }
        Some(_) => return None,
    };
    if record_ms.is_some_and(|record_ms| time_ms > record_ms + FUTURE_MS) {
        return None;
    }
    Some((user, time_ms, purchase.then_some(amount)))
}

/// The default features at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Purchases in the window.
    pub count: u64,
    /// Sum of their amounts.
    pub spend: f64,
    /// Sum of their absolute amounts, which bounds rounding errors.
    pub magnitude: f64,
    /// Time of the latest purchase ever (epoch ms).
    pub last_ms: Option<i64>,
}

impl Expected {
    /// Evaluates a history at `as_of_ms`: purchases of (as of - 24 h, as of] count.
    pub fn at(history: &[(i64, Option<f64>)], as_of_ms: i64) -> Expected {
        let mut expected = Expected {
            count: 0,
            spend: 0.0,
            magnitude: 0.0,
            last_ms: None,
        };
        for &(time_ms, amount) in history {
            let Some(amount) = amount else { continue };
            expected.last_ms = expected.last_ms.max(Some(time_ms));
            if as_of_ms - WINDOW_MS < time_ms && time_ms <= as_of_ms {
                expected.count += 1;
                expected.spend += amount;
                expected.magnitude += amount.abs();
            }
        }
        expected
    }

    /// The first field in which a stored hash differs from this, in words.
    fn difference(&self, hash: &HashMap<String, String>) -> Option<String> {
        let number = |name: &str| hash.get(name).and_then(|text| text.parse::<f64>().ok());
        let tolerance = 1e-9 * self.magnitude.max(1.0);
        let near = |name: &str, expected: f64| match number(name) {
            Some(stored) if (stored - expected).abs() <= tolerance => None,
            stored => Some(format!("{name} is {stored:?}, expected {expected}")),
        };
        let count = hash.get("purchase_count_24h");
        if count != Some(&self.count.to_string()) {
            return Some(format!(
                "purchase_count_24h is {count:?}, expected {}",
                self.count
            ));
        }
        let mean = if self.count == 0 {
            0.0
        } else {
            self.spend / self.count as f64
        };
        near("total_spend_24h", self.spend)
            .or_else(|| near("avg_purchase_amount", mean))
            .or_else(|| match self.last_ms {
                Some(last_ms) => near("last_purchase_ts", last_ms as f64 / 1_000.0),
                None => hash.get("last_purchase_ts").map(|text| {
                    format!("last_purchase_ts is {text}, though there was no purchase")
                }),
            })
    }
}

/// The number of users whose stored features are right.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Number of users in the topic.
    pub users: usize,
    /// Number of users whose hash is exactly right at its own `_as_of`.
    pub equal: usize,
    /// The first few others: user and difference.
    pub wrong: Vec<String>,
}

impl Comparison {
    /// True if there are users, and all are right.
    pub fn holds(&self) -> bool {
        self.users > 0 && self.equal == self.users
    }
}

/// Compares every user's hash under `prefix` with the recomputation at the hash's own `_as_of`.
pub fn compare(
    histories: &BTreeMap<String, History>,
    redis: &mut redis::Connection,
    prefix: &str,
) -> Result<Comparison> {
    let mut comparison = Comparison {
        users: histories.len(),
        ..Comparison::default()
    };
    let users: Vec<_> = histories.iter().collect();
    for some in users.chunks(1_000) {
        let mut reads = redis::pipe();
        for (user, _) in some {
            reads.hgetall(format!("{prefix}features:{user}"));
        }
        let hashes: Vec<HashMap<String, String>> =
            reads.query(redis).context("reading features from Redis")?;
        for ((user, history), hash) in some.iter().zip(hashes) {
            match wrong(history, &hash) {
                None => comparison.equal += 1,
                Some(difference) if comparison.wrong.len() < 5 => {
                    comparison.wrong.push(format!("{user}: {difference}"));
                }
                Some(_) => {}
            }
        }
    }
    Ok(comparison)
}

fn wrong(history: &[(i64, Option<f64>)], hash: &HashMap<String, String>) -> Option<String> {
    let Some(as_of) = hash.get("_as_of") else {
        return Some("no features stored".to_owned());
    };
    match as_of.parse() {
        Ok(as_of_ms) => Expected::at(history, as_of_ms).difference(hash),
        Err(_) => Some(format!("_as_of is {as_of:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: Option<&str>) -> Stored {
        Stored {
            partition: 0,
            offset: 0,
            timestamp_ms: Some(1_771_151_400_000),
            key: Some(key.into()),
            value: value.map(Into::into),
            headers: Vec::new(),
        }
    }

    #[test]
    fn the_contract_decides_what_counts() {
        let records = [
            record(
                "a",
                Some(r#"{"user_id":"a","amount":2,"timestamp":"2026-02-15T10:29:00Z"}"#),
            ),
            record("a", Some(r#"{"user_id":"a","action":"view"}"#)),
            record("x", Some(r#"{"user_id":7,"amount":null}"#)),
            record("a", Some(r#"{"user_id":"a","amount":"2"}"#)),
            record(
                "a",
                Some(r#"{"user_id":"a","timestamp":"2026-02-15T10:35:01Z"}"#),
            ),
            record("a", Some("nonsense")),
            record("b", Some(r#"{"user_id":"b"}"#)),
            record("b", None),
        ];
        let histories = histories(&records);
        assert_eq!(histories.keys().collect::<Vec<_>>(), ["7", "a"]);
        assert_eq!(
            histories["a"],
            [(1_771_151_340_000, Some(2.0)), (1_771_151_400_000, None)]
        );
    }

    #[test]
    fn the_window_is_open_at_its_start_and_closed_at_its_end() {
        let history = [
            (0, Some(1.0)),
            (1, Some(2.0)),
            (WINDOW_MS, Some(4.0)),
            (WINDOW_MS + 1, Some(8.0)),
        ];
        let expected = Expected::at(&history, WINDOW_MS);
        assert_eq!((expected.count, expected.spend), (2, 6.0));
        assert_eq!(expected.last_ms, Some(WINDOW_MS + 1));
    }

    #[test]
    fn a_wrong_hash_is_told_from_a_right_one() {
        let history = [(1_000, Some(1.5)), (2_500, Some(2.5))];
        let mut hash: HashMap<String, String> = [
            ("_as_of", "3000"),
            ("purchase_count_24h", "2"),
            ("total_spend_24h", "4"),
            ("avg_purchase_amount", "2"),
            ("last_purchase_ts", "2.5"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        assert_eq!(wrong(&history, &hash), None);
        for name in [
            "purchase_count_24h",
            "total_spend_24h",
            "avg_purchase_amount",
            "last_purchase_ts",
        ] {
            let right = hash.insert(name.to_owned(), "3".to_owned());
            assert!(wrong(&history, &hash).is_some_and(|told| told.contains(name)));
            hash.insert(name.to_owned(), right.unwrap());
        }
        assert!(wrong(&history, &HashMap::new()).is_some());
    }
}
