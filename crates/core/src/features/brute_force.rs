//! Checks windows against a brute force that keeps every event and shares no code with them.

use super::{Aggregate, Definitions, Evaluation, FeatureValue, Limits, Window};
use crate::record::{Value, user_event};
use proptest::prelude::*;
use std::collections::BTreeSet;

const DEFINITIONS: &str = r#"
    [[feature]]
    name = "n"
    aggregate = "count"
    window = "10m"
    where = { action = "purchase" }
    [[feature]]
    name = "s"
    aggregate = "sum"
    field = "amount"
    window = "10m"
    where = { action = "purchase" }
    [[feature]]
    name = "m"
    aggregate = "mean"
    field = "amount"
    window = "10m"
    where = { action = "purchase" }
    [[feature]]
    name = "lo"
    aggregate = "min"
    field = "amount"
    window = "3m"
    [[feature]]
    name = "hi"
    aggregate = "max"
    field = "amount"
    window = "30m"
    [[feature]]
    name = "l"
    aggregate = "last"
    field = "price"
    window = "10m"
    [[feature]]
    name = "d"
    aggregate = "distinct"
    field = "shop"
    window = "10m"
    [[feature]]
    name = "dev"
    aggregate = "stddev"
    field = "amount"
    window = "30m"
    where = { action = "view", online = true }
    [[feature]]
    name = "t"
    aggregate = "last_time"
    window = "3m"
    where = { action = "view" }
    [[feature]]
    name = "lp"
    aggregate = "last"
    field = "price"
    where = { action = "purchase" }
    [[feature]]
    name = "lt"
    aggregate = "last_time"
"#;

#[derive(Clone, Debug)]
struct Event {
    time: i64,
    action: Option<&'static str>,
    amount: Option<f64>,
    price: Option<f64>,
    shop: Option<u8>,
    online: bool,
}

impl Event {
    fn json(&self) -> String {
        let mut fields = vec![
            "\"user_id\":\"u\"".to_owned(),
            format!("\"timestamp\":{}", self.time),
        ];
        fields.extend(self.action.map(|action| format!("\"action\":\"{action}\"")));
        fields.extend(self.amount.map(|amount| format!("\"amount\":{amount:?}")));
        fields.extend(self.price.map(|price| format!("\"price\":{price:?}")));
        // Whole numbers and texts alike.
        fields.extend(self.shop.map(|shop| match shop % 2 {
            0 => format!("\"shop\":{shop}"),
            _ => format!("\"shop\":\"s{shop}\""),
        }));
        fields.push(format!("\"online\":{}", self.online));
        format!("{{{}}}", fields.join(","))
    }
}

fn event(span_ms: i64) -> impl Strategy<Value = Event> {
    let money = prop_oneof![
        (-10_000i64..100_000).prop_map(|cents| cents as f64 / 100.0),
        (-1e9..1e9f64).prop_map(|amount| (amount * 1000.0).round() / 1000.0),
        Just(0.0)
    ];
    (
        // Few different times, so that many are equal, and offsets that shuffle them.
        (0..span_ms / 500).prop_map(|half| 1_771_000_000_000 + half * 500),
        prop_oneof![
            Just(None),
            Just(Some("purchase")),
            Just(Some("view")),
            Just(Some("login"))
        ],
        proptest::option::of(money.clone()),
        proptest::option::of(money),
        proptest::option::of(0..6u8),
        any::<bool>(),
    )
        .prop_map(|(time, action, amount, price, shop, online)| Event {
            time,
            action,
            amount,
            price,
            shop,
            online,
        })
}

/// A feature's value over the events that count, computed as the documentation defines it.
fn expected(name: &str, events: &[Event], as_of: i64) -> (Option<f64>, f64) {
    let (window, action, online) = match name {
        "n" | "s" | "m" => (Some(10), Some("purchase"), None),
        "lo" => (Some(3), None, None),
        "hi" => (Some(30), None, None),
        "l" | "d" => (Some(10), None, None),
        "dev" => (Some(30), Some("view"), Some(true)),
        "t" => (Some(3), Some("view"), None),
        "lp" => (None, Some("purchase"), None),
        _ => (None, None, None),
    };
    let mut counted: Vec<&Event> = events
        .iter()
        .filter(|event| event.time <= as_of)
        .filter(|event| window.is_none_or(|minutes| event.time > as_of - minutes * 60_000))
        .filter(|event| action.is_none_or(|action| event.action.unwrap_or("purchase") == action))
        .filter(|event| online.is_none_or(|online| event.online == online))
        .collect();
    counted.sort_by_key(|event| event.time);
    let amounts: Vec<f64> = counted
        .iter()
        .map(|event| event.amount.unwrap_or(0.0))
        .collect();
    let absolute: f64 = amounts.iter().map(|amount| amount.abs()).sum();
    let count = amounts.len() as f64;
    let mean = amounts.iter().sum::<f64>() / count;
    let value = match name {
        "n" => Some(count),
        "s" => Some(amounts.iter().sum()),
        "m" if amounts.is_empty() => Some(0.0),
        "m" => Some(mean),
        "lo" => amounts.iter().copied().reduce(f64::min),
        "hi" => amounts.iter().copied().reduce(f64::max),
        "l" | "lp" => counted.iter().rev().find_map(|event| event.price),
        "d" => {
            let shops: BTreeSet<u8> = counted.iter().filter_map(|event| event.shop).collect();
            Some(shops.len() as f64)
        }
        "dev" if amounts.is_empty() => None,
        "dev" => {
            let squares: f64 = amounts.iter().map(|amount| (amount - mean).powi(2)).sum();
            Some((squares / count).sqrt())
        }
        _ => counted.last().map(|event| event.time as f64 / 1000.0),
    };
    (value, absolute)
}

fn check(definitions: &Definitions, window: &Window, events: &[Event], as_of: i64) -> Evaluation {
    let mut evaluation = Evaluation::default();
    window.evaluate(definitions, as_of, &mut evaluation);
    for (feature, value) in definitions.features().iter().zip(&evaluation.values) {
        let (expected, absolute) = expected(&feature.name, events, as_of);
        let close = match (value.number(), expected) {
            (None, None) => true,
            (Some(own), Some(other)) => {
                let exact = !matches!(
                    feature.aggregate,
                    Aggregate::Sum | Aggregate::Mean | Aggregate::Stddev
                );
                own == other || (!exact && (own - other).abs() <= 1e-9 * absolute)
            }
            _ => false,
        };
        let name = &feature.name;
        assert!(
            close,
            "{name} as of {as_of} is {value:?}, expected {expected:?} from {events:?}"
        );
    }
    evaluation
}

fn insert(definitions: &Definitions, window: &mut Window, event: &Event, limits: &Limits) {
    let mut entry = Vec::new();
    let json = event.json();
    let value = Some(json.as_bytes());
    user_event::decode(definitions, None, value, Some(event.time), &mut entry).unwrap();
    window.insert(definitions, &entry, limits);
}

const FORGETTING: Limits = Limits {
    exact_events: 1000,
    forget: true,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn now_is_exact_in_any_order_and_so_is_the_next_expiry(
        events in proptest::collection::vec(event(50 * 60_000), 0..60),
        later in proptest::collection::vec(0..40 * 60_000i64, 1..4),
    ) {
        let definitions = Definitions::parse(DEFINITIONS).unwrap();
        let mut window = Window::default();
        let mut newest = 0;
        for (count, event) in events.iter().enumerate() {
            newest = newest.max(event.time);
            insert(&definitions, &mut window, event, &FORGETTING);
            let mut bytes = Vec::new();
            window.encode(&definitions, &mut bytes);
            let decoded = Window::decode(&definitions, &bytes).unwrap();
            prop_assert_eq!(&decoded, &window);
            let seen = &events[..=count];
            let evaluation = check(&definitions, &window, seen, newest);
            prop_assert!(evaluation.exact);
            // Right during its whole validity, and different right after: then one event counts less.
            check(&definitions, &window, seen, evaluation.valid_until - 1);
            if let Some(expiry) = evaluation.next_expiry {
                prop_assert_eq!(evaluation.valid_until, expiry);
                let gone = |minutes: i64| seen.iter().any(|event| event.time + minutes * 60_000 == expiry);
                prop_assert!([3, 10, 30].into_iter().any(gone));
                let mut same = Evaluation::default();
                window.evaluate(&definitions, expiry - 1, &mut same);
                prop_assert_eq!(&same.values, &evaluation.values);
            }
        }
        for after in later {
            check(&definitions, &window, &events, newest.max(1_771_000_000_000) + after);
        }
    }

    #[test]
    fn any_time_of_the_past_is_exact_where_nothing_is_forgotten(
        events in proptest::collection::vec(event(90 * 60_000), 0..80),
        times in proptest::collection::vec(-5 * 60_000..100 * 60_000i64, 1..8),
    ) {
        let definitions = Definitions::parse(DEFINITIONS).unwrap();
        let mut window = Window::default();
        for event in &events {
            insert(&definitions, &mut window, event, &Limits::NONE);
        }
        for time in times {
            check(&definitions, &window, &events, 1_771_000_000_000 + time);
        }
    }

    #[test]
    fn beyond_the_exact_events_at_most_one_tile_is_counted_too_much(
        events in proptest::collection::vec(event(50 * 60_000), 1..200),
        exact_events in 0..40usize,
        later in 0..40 * 60_000i64,
    ) {
        let definitions = Definitions::parse(DEFINITIONS).unwrap();
        let limits = Limits { exact_events, forget: true };
        let mut window = Window::default();
        for event in &events {
            insert(&definitions, &mut window, event, &limits);
        }
        let mut bytes = Vec::new();
        window.encode(&definitions, &mut bytes);
        let window = Window::decode(&definitions, &bytes).unwrap();
        let newest = events.iter().map(|event| event.time).max().unwrap();
        for as_of in [newest, newest + later] {
            let mut evaluation = Evaluation::default();
            window.evaluate(&definitions, as_of, &mut evaluation);
            let count = evaluation.values[0].number().unwrap();
            let least = expected("n", &events, as_of).0.unwrap();
            // The minute in which the window begins may count as a whole.
            let begin = as_of - 10 * 60_000;
            let minute = begin.div_euclid(60_000) * 60_000;
            let tail: Vec<Event> =
                events.iter().filter(|event| event.time >= minute && event.time <= as_of).cloned().collect();
            let most = tail.iter().filter(|event| event.action.unwrap_or("purchase") == "purchase").count();
            prop_assert!(count >= least && count <= most as f64, "{} is not in {}..={}", count, least, most);
            if evaluation.exact {
                check(&definitions, &window, &events, as_of);
                check(&definitions, &window, &events, evaluation.valid_until - 1);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_window_are_none(
        events in proptest::collection::vec(event(50 * 60_000), 0..30),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
        noise in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let definitions = Definitions::parse(DEFINITIONS).unwrap();
        let limits = Limits { exact_events: 5, forget: true };
        let mut window = Window::default();
        for event in &events {
            insert(&definitions, &mut window, event, &limits);
        }
        let mut bytes = Vec::new();
        window.encode(&definitions, &mut bytes);
        let index = at.index(bytes.len());
        prop_assert_eq!(Window::decode(&definitions, &bytes[..index]), None);
        bytes[index] = with;
        // Decoded or not, no bytes cause a panic.
        for bytes in [bytes.as_slice(), noise.as_slice()] {
            if let Some(mut window) = Window::decode(&definitions, bytes) {
                let mut evaluation = Evaluation::default();
                window.evaluate(&definitions, 1_771_000_000_000, &mut evaluation);
                for event in &events {
                    insert(&definitions, &mut window, event, &limits);
                }
            }
        }
    }
}

/// Rounding errors that do not cancel would show in the sum after some millions of amounts came and went.
#[test]
fn a_sum_stays_right_whatever_came_and_went() {
    let definitions = Definitions::parse(DEFINITIONS).unwrap();
    let mut window = Window::default();
    let mut evaluation = Evaluation::default();
    let mut entry = Vec::new();
    let mut amounts: Vec<f64> = Vec::new();
    for step in 0..2_000_000i64 {
        let amount = if step % 1000 == 0 {
            1e15
        } else {
            ((step * 7919) % 10_007) as f64 / 100.0
        };
        amounts.push(amount);
        let time = 1_771_000_000_000 + step * 10_000;
        entry.clear();
        let mut values = vec![Value::Absent; 7];
        values[2] = Value::Text("purchase".into());
        values[3] = Value::Float(amount);
        definitions.entry(time, &values, &mut entry).unwrap();
        window.insert(&definitions, &entry, &FORGETTING);
        if step % 9_973 == 0 {
            window.evaluate(&definitions, time, &mut evaluation);
            let counted = &amounts[amounts.len().saturating_sub(60)..];
            let (sum, absolute) = counted
                .iter()
                .fold((0.0, 0.0), |(sum, absolute), amount: &f64| {
                    (sum + amount, absolute + amount.abs())
                });
            let FeatureValue::Number(own) = evaluation.values[1] else {
                unreachable!()
            };
            assert!((own - sum).abs() <= 1e-9 * absolute, "{own} is not {sum}");
        }
    }
}
