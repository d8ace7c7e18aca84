//! Columns against a brute force over the plain list of events, by the words of the documentation.

use super::super::{Columns, Unknown};
use super::{Counts, History, Incoming, Question};
use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use proptest::prelude::*;
use tidemill_core::features::Definitions;
use tidemill_core::record::resent::Original;

const MINUTE: i64 = 60_000;
const START: i64 = 1_771_000_000_000;

const DEFINITIONS: &str = r#"
    ttl_s = 7200
    [[feature]]
    name = "n"
    aggregate = "count"
    window = "10m"
    where = { action = "purchase" }
    [[feature]]
    name = "s"
    aggregate = "sum"
    field = "amount"
    window = "30m"
    [[feature]]
    name = "hi"
    aggregate = "max"
    field = "amount"
    window = "2h"
    [[feature]]
    name = "last"
    aggregate = "last_time"
    where = { action = "purchase" }
"#;

#[derive(Clone, Debug)]
enum Told {
    Event {
        user: u8,
        time: i64,
        purchase: bool,
        cents: i64,
    },
    Erasure {
        user: u8,
    },
}

/// A record, and where it lies.
#[derive(Clone, Debug)]
struct Written {
    told: Told,
    partition: i32,
    /// The Kafka timestamp.
    at: i64,
}

fn written() -> impl Strategy<Value = Written> {
    let event = (0..3_u8, 0..300_i64, any::<bool>(), 0..10_000_i64).prop_map(
        |(user, minutes, purchase, cents)| Told::Event {
            user,
            time: START + minutes * MINUTE,
            purchase,
            cents,
        },
    );
    let told = prop_oneof![20 => event, 1 => (0..3_u8).prop_map(|user| Told::Erasure { user })];
    (told, 0..3_i32, 400..500_i64).prop_map(|(told, partition, minutes)| Written {
        told,
        partition,
        at: START + minutes * MINUTE,
    })
}

/// A record without a key that is no copy.
fn ordinary(offset: i64) -> Incoming<'static> {
    Incoming {
        partition: 0,
        offset: offset.into(),
        timestamp: Some(START),
        key: None,
        original: None,
    }
}

fn empty(delay_ms: i64) -> History {
    let definitions = Definitions::parse(DEFINITIONS).unwrap();
    let question = Question {
        definitions,
        as_of: "at".into(),
        delay_ms,
    };
    History::new(question, None)
}

/// The history of a topic, read partition by partition.
fn history(log: &[Written], delay_ms: i64) -> History {
    let mut history = empty(delay_ms);
    let mut rounds = 0;
    loop {
        for partition in 0..3 {
            history.begin(0.into());
            let own = log.iter().filter(|record| record.partition == partition);
            for (record, offset) in own.zip(0..) {
                let (key, value) = bytes(&record.told);
                let incoming = Incoming {
                    partition,
                    timestamp: Some(record.at),
                    key: key.as_deref(),
                    ..ordinary(offset)
                };
                history.insert(incoming, Ok(value.as_deref()));
            }
            history.end();
        }
        rounds += 1;
        assert!(rounds <= 2);
        if !history.begins_again() {
            return history;
        }
    }
}

/// The key and the value of a record.
fn bytes(told: &Told) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    match told {
        Told::Event {
            user,
            time,
            purchase,
            cents,
        } => {
            let action = if *purchase { "purchase" } else { "view" };
            let amount = *cents as f64 / 100.0;
            let value = format!(
                "{{\"user_id\":\"u{user}\",\"timestamp\":{time},\"action\":\"{action}\",\"amount\":{amount}}}"
            );
            (None, Some(value.into_bytes()))
        }
        Told::Erasure { user } => (Some(format!("u{user}").into_bytes()), None),
    }
}

fn ask(history: &History, records: &[String]) -> (Vec<Vec<Option<f64>>>, Unknown) {
    let mut columns = Columns::of(history);
    records
        .iter()
        .for_each(|record| columns.push(record.as_bytes()));
    let unknown = columns.unknown();
    let arrays = columns.finish();
    let plain = arrays
        .iter()
        .map(|array| array.as_primitive::<Float64Type>().iter().collect());
    (plain.collect(), unknown)
}

/// An erasure covers what lies before it in its partition, and in the others what is not newer by Kafka time.
fn is_erased(log: &[Written], place: usize, asked: u8) -> bool {
    let record = &log[place];
    let mut erasures = log
        .iter()
        .enumerate()
        .filter(|(_, other)| matches!(other.told, Told::Erasure { user } if user == asked));
    erasures.any(
        |(at, erasure)| match erasure.partition == record.partition {
            true => place < at,
            false => record.at <= erasure.at,
        },
    )
}

/// The four features of a user as of a time, from all that was ever told.
fn expected(log: &[Written], asked: u8, as_of: i64) -> [Option<f64>; 4] {
    let mut events = Vec::new();
    for (place, record) in log.iter().enumerate() {
        if let Told::Event {
            user,
            time,
            purchase,
            cents,
        } = record.told
            && user == asked
            && time <= as_of
            && !is_erased(log, place, asked)
        {
            events.push((time, purchase, cents as f64 / 100.0));
        }
    }
    // The hash lives for two hours after the newest event.
    if events.iter().all(|(time, ..)| as_of >= time + 120 * MINUTE) {
        events.clear();
    }
    let within = |minutes: i64| {
        events
            .iter()
            .filter(move |(time, ..)| *time > as_of - minutes * MINUTE)
    };
    [
        Some(within(10).filter(|(_, purchase, _)| *purchase).count() as f64),
        Some(within(30).map(|(_, _, amount)| amount).sum()),
        within(120).map(|(_, _, amount)| *amount).reduce(f64::max),
        events
            .iter()
            .filter(|(_, purchase, _)| *purchase)
            .map(|(time, ..)| *time)
            .max()
            .map(|time| time as f64 / 1000.0),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn columns_equal_the_brute_force(
        log in prop::collection::vec(written(), 0..80),
        asked in prop::collection::vec((0..4_u8, -20..400_i64), 1..20),
        delay in 0..15_i64,
    ) {
        let history = history(&log, delay * MINUTE);
        let records: Vec<String> = asked.iter().map(|(user, minutes)| {
            format!("{{\"user_id\":\"u{user}\",\"at\":{}}}", START + minutes * MINUTE)
        }).collect();
        let (columns, unknown) = ask(&history, &records);
        prop_assert_eq!(unknown, Unknown::default());
        for (row, (user, minutes)) in asked.iter().enumerate() {
            let own = expected(&log, *user, START + (minutes - delay) * MINUTE);
            for (feature, expected) in own.iter().enumerate() {
                let found = columns[feature][row];
                let close = match (found, expected) {
                    (Some(found), Some(expected)) => (found - expected).abs() <= 1e-9 * expected.abs().max(1.0),
                    (found, expected) => found == *expected,
                };
                prop_assert!(close, "feature {feature} of u{user} at {minutes}: {found:?}, not {expected:?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_known_is_null_and_counted() {
    let event = Told::Event {
        user: 1,
        time: START + 60 * MINUTE,
        purchase: true,
        cents: 100,
    };
    let log = [Written {
        told: event,
        partition: 0,
        at: START + 60 * MINUTE,
    }];
    let mut history = history(&log, 0);
    history.begin(7.into());
    assert!(history.see(Some(START + 50 * MINUTE)));
    history.end();
    let at = |minutes: i64| format!("{{\"user_id\":\"u1\",\"at\":{}}}", START + minutes * MINUTE);
    let records = [
        "{\"at\":\"2026-02-15T10:30:00Z\"}".to_owned(),
        "{\"user_id\":\"u1\"}".to_owned(),
        "{\"user_id\":\"u1\",\"at\":\"soon\"}".to_owned(),
        "{\"user_id\":[],\"at\":1}".to_owned(),
        at(49),
        at(60),
        at(80),
    ];
    let (columns, unknown) = ask(&history, &records);
    let none = None;
    assert_eq!(
        columns[0],
        [none, none, none, none, none, Some(1.0), Some(0.0)]
    );
    assert_eq!(columns[1], [none, none, none, none, none, none, Some(1.0)]);
    assert_eq!(columns[2], [none; 7]);
    assert!(columns[3][5].is_some() && columns[3][4].is_none());
    let expected = Unknown {
        unasked: 4,
        uncovered: 3,
    };
    assert_eq!(unknown, expected);
}

#[test]
fn an_event_counts_once_whatever_copies_there_are_of_it() {
    let good = format!("{{\"user_id\":\"u1\",\"timestamp\":{START}}}");
    let asked = format!("{{\"user_id\":\"u1\",\"at\":{START}}}");
    // The log begins at 10; a record is (usable, offset of its original, partition of that).
    for (records, counted, counts, why) in [
        (vec![(true, None)], 1.0, (1, 0, 0), "an ordinary record"),
        (
            vec![(true, None), (true, Some((0, 10)))],
            1.0,
            (1, 0, 1),
            "the original counts",
        ),
        (
            vec![(false, None), (true, Some((0, 10)))],
            1.0,
            (1, 1, 0),
            "a copy counts",
        ),
        (
            vec![
                (false, None),
                (false, Some((0, 10))),
                (true, Some((0, 10))),
                (true, Some((0, 10))),
            ],
            1.0,
            (1, 2, 1),
            "one copy counts",
        ),
        (
            vec![(true, Some((0, 9))), (true, Some((0, 9)))],
            1.0,
            (1, 0, 1),
            "the original is deleted",
        ),
        (
            vec![(false, None), (true, Some((1, 10)))],
            0.0,
            (0, 2, 0),
            "it lies in another partition",
        ),
    ] {
        let mut history = empty(0);
        history.begin(10.into());
        for (offset, (usable, original)) in (10..).zip(records) {
            let original = original.map(|(partition, offset)| Original { partition, offset });
            let record = Incoming {
                original,
                ..ordinary(offset)
            };
            let value: &[u8] = if usable { good.as_bytes() } else { b"{" };
            history.insert(record, Ok(Some(value)));
        }
        let (columns, _) = ask(&history, std::slice::from_ref(&asked));
        assert_eq!(columns[0], [Some(counted)], "{why}");
        let (events, unusable, copies) = counts;
        let expected = Counts {
            events,
            unusable,
            copies,
        };
        assert_eq!(history.counts().0, expected, "{why}");
    }
}

/// As in the featurizer: the copy takes the place of its original, which lies before the erasure.
#[test]
fn an_erasure_covers_the_copies_of_what_lies_before_it() {
    let good = format!("{{\"user_id\":\"u1\",\"timestamp\":{START}}}");
    let asked = format!("{{\"user_id\":\"u1\",\"at\":{START}}}");
    for (rejected, counted) in [(0, 0.0), (2, 1.0)] {
        let mut history = empty(0);
        history.begin(0.into());
        for offset in 0..4 {
            let (key, value): (_, Option<&[u8]>) = match offset {
                1 => (Some(b"u1".as_slice()), None),
                3 => (None, Some(good.as_bytes())),
                _ => (None, Some(b"{")),
            };
            let original = (offset == 3).then_some(Original {
                partition: 0,
                offset: rejected,
            });
            let record = Incoming {
                key,
                original,
                ..ordinary(offset)
            };
            history.insert(record, Ok(value));
        }
        let (columns, _) = ask(&history, std::slice::from_ref(&asked));
        assert_eq!(columns[0], [Some(counted)], "the original is {rejected}");
    }
}
