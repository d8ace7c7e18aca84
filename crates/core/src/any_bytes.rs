//! Any bytes from outside are read into a value or a reason: no panic, and no allocation that a length in them asks
//! for.

mod change;

use crate::features::{Definitions, Evaluation, Limits, Window};
use crate::record::{Value, timestamp, user_event};
use change::{cases, change};
use proptest::prelude::*;

const DEFINITIONS: &str = r#"
timestamp = "at"
ttl_s = 2592000
[[feature]]
name = "n"
aggregate = "count"
window = "10m"
where = { action = "purchase" }
[[feature]]
name = "s"
aggregate = "sum"
field = "amount"
window = "24h"
[[feature]]
name = "dev"
aggregate = "stddev"
field = "amount"
window = "30m"
where = { action = "view", online = true }
[[feature]]
name = "hi"
aggregate = "max"
field = "amount"
window = "30d"
[[feature]]
name = "d"
aggregate = "distinct"
field = "shop"
window = "10m"
[[feature]]
name = "l"
aggregate = "last"
field = "price"
[[feature]]
name = "lt"
aggregate = "last_time"
"#;

const NOW: i64 = 1_771_151_400_000;

const EVENTS: [&str; 4] = [
    r#"{"user_id":"u_1","action":"view","online":true,"amount":-12.75e1,"shop":"s\u00e9","price":3,"at":1771151400}"#,
    r#"{"user_id":42,"amount":0.1,"at":"2026-02-15T10:30:00.123+02:00","more":[1,{"a":null}]}"#,
    r#"{"user_id":"\ud83d\ude00","amount":18446744073709551615,"shop":true,"price":-0.0}"#,
    r#"{"$claim":{"path":"a/b","length":10,"sha256":"00"}}"#,
];

fn definitions() -> Definitions {
    Definitions::parse(DEFINITIONS).unwrap()
}

/// A window of these events, the older ones summed up by the minute.
fn window(definitions: &Definitions, events: &[(i64, u8)], exact_events: usize) -> Window {
    let limits = Limits {
        exact_events,
        forget: true,
    };
    let mut window = Window::default();
    for (age, shop) in events {
        let at = NOW - age;
        let json =
            format!(r#"{{"user_id":"u","at":{at},"amount":{age},"shop":"{shop}","price":1}}"#);
        let mut entry = Vec::new();
        user_event::decode(
            definitions,
            None,
            Some(json.as_bytes()),
            Some(NOW),
            &mut entry,
        )
        .unwrap();
        window.insert(definitions, &entry, &limits);
    }
    window
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn records(
        which in 0..EVENTS.len(),
        change in change(),
        key in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        any_value in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
        record_time in prop::option::of(any::<i64>()),
    ) {
        let definitions = definitions();
        let valid = definitions.fields().decode(Some(EVENTS[0].as_bytes())).unwrap();
        let mut whole = Vec::new();
        definitions.entry(0, &valid, &mut whole).unwrap();
        for value in [Some(change.of(EVENTS[which].as_bytes())), any_value] {
            let mut entry = vec![7; 3];
            let decoded = user_event::decode(
                &definitions, key.as_deref(), value.as_deref(), record_time, &mut entry,
            );
            let grown = match decoded {
                Ok(user_event::UserRecord::Event { .. }) => whole.len(),
                _ => 0,
            };
            prop_assert_eq!(entry.len(), 3 + grown);
        }
    }

    #[test]
    fn times(text in prop::collection::vec(any::<char>(), 0..40), number in any::<f64>(), whole in any::<i64>(), change in change()) {
        let near = change.of(b"2026-02-15T10:30:00.123456789+02:00");
        let near = String::from_utf8_lossy(&near).into_owned();
        let values = [
            Value::Text(String::from_iter(text).into()),
            Value::Text(near.into()),
            Value::Float(number),
            Value::Integer(whole.into()),
            Value::Integer(i128::from(u64::MAX) - i128::from(whole)),
        ];
        for value in values {
            if let Ok(Some(millis)) = timestamp::decode(&value, "t") {
                prop_assert!(jiff::Timestamp::from_millisecond(millis).is_ok());
            }
            let _any = timestamp::event_time(&value, "t", Some(whole));
        }
    }

    #[test]
    fn files_of_settings(change in change()) {
        let text = String::from_utf8_lossy(&change.of(DEFINITIONS.as_bytes())).into_owned();
        if let Ok(definitions) = Definitions::parse(&text) {
            let mut entry = Vec::new();
            let _any = user_event::decode(&definitions, None, Some(EVENTS[0].as_bytes()), Some(NOW), &mut entry);
        }
    }

    #[test]
    fn windows(
        events in prop::collection::vec((0..40_000_000_i64, any::<u8>()), 0..30),
        exact in 1..20_usize,
        change in change(),
        at in prop_oneof![any::<i64>(), NOW - 100_000_000..NOW + 100_000_000],
        bytes in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let definitions = definitions();
        let window = window(&definitions, &events, exact);
        let mut valid = Vec::new();
        window.encode(&definitions, &mut valid);
        // Compared as bytes: tiles in memory hold sums that no feature needs, and that are not stored.
        let mut again = Vec::new();
        Window::decode(&definitions, &valid).unwrap().encode(&definitions, &mut again);
        prop_assert_eq!(&again, &valid);
        for bytes in [change.of(&valid), bytes] {
            let Some(mut other) = Window::decode(&definitions, &bytes) else {
                continue;
            };
            // A decoded window takes no more than a small multiple of its bytes.
            prop_assert!(other.heap_bytes() <= 4096 + 64 * bytes.len(), "{} bytes", other.heap_bytes());
            let mut evaluation = Evaluation::default();
            other.evaluate(&definitions, at, &mut evaluation);
            let mut entry = Vec::new();
            let event = Some(EVENTS[0].as_bytes());
            user_event::decode(&definitions, None, event, Some(NOW), &mut entry).unwrap();
            other.insert(&definitions, &entry, &Limits { exact_events: exact, forget: true });
            other.evaluate(&definitions, at, &mut evaluation);
            let mut again = Vec::new();
            other.encode(&definitions, &mut again);
        }
    }
}
