//! Reports of made-up users.

use super::Found;
use super::print::Text;
use super::replay::Event;
use super::report::Report;
use tidemill_core::features::{Definitions, Evaluation, Limits, Window};
use tidemill_core::record::user_event;

const HOUR: i64 = 3_600_000;
const AT: i64 = 1_771_151_400_000;

/// A user with events this long before [`AT`], and such a hash.
fn found(ages: &[i64], hash: &[(&str, &str)]) -> Found {
    let definitions = Definitions::standard();
    let event = |(age, offset): (&i64, i64)| {
        let time = AT - age;
        let text = format!("{{\"user_id\":\"u\",\"amount\":10,\"timestamp\":{time}}}");
        let mut entry = Vec::new();
        user_event::decode(
            &definitions,
            None,
            Some(text.as_bytes()),
            Some(time),
            &mut entry,
        )
        .unwrap();
        Event {
            time,
            partition: 3,
            offset,
            text,
            entry,
        }
    };
    let events: Vec<Event> = ages.iter().zip(0..).map(event).collect();
    let mut window = Window::default();
    let all = &Limits::NONE;
    events
        .iter()
        .for_each(|event| window.insert(&definitions, &event.entry, all));
    let mut replayed = Evaluation::default();
    window.evaluate(&definitions, AT, &mut replayed);
    Found {
        at: AT,
        present: true,
        hash: hash
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        stored: Some(replayed.clone()),
        replayed,
        events,
        since: AT - 26 * HOUR,
        lost: 0,
        other_definitions: false,
    }
}

fn lines(found: &Found, last: usize) -> Vec<String> {
    let report = Report::new(&Definitions::standard(), "u", found);
    let text = Text {
        report: &report,
        last,
    }
    .to_string();
    text.lines().map(str::to_owned).collect()
}

const HASH: [(&str, &str); 5] = [
    ("_as_of", "1771151400000"),
    ("purchase_count_24h", "2"),
    ("total_spend_24h", "20"),
    ("avg_purchase_amount", "10"),
    ("last_purchase_ts", "1771144200"),
];

#[test]
fn every_line_fits_80_columns_and_tells_what_counts() {
    let found = found(&[30 * HOUR, 3 * HOUR, 2 * HOUR], &HASH);
    let told = lines(&found, 2);
    assert!(
        told.iter().all(|line| line.chars().count() <= 80),
        "{told:#?}"
    );
    let table: Vec<&str> = told[2..6].iter().map(|line| &line[..2]).collect();
    assert_eq!(table, ["ok"; 4], "{told:#?}");
    assert!(told.contains(&"the last 2 of them; --last 3 shows all".to_owned()));
    let events = &told[told.len() - 2..];
    assert!(
        events.iter().all(|line| line.contains(" all ")),
        "{events:?}"
    );
    assert!(events[1].starts_with("2026-02-15T08:30:00") && events[1].contains(" 3/2 "));
    let told = lines(&found, 3);
    let expired = &told[told.len() - 3];
    assert!(!expired.contains(" all "), "{expired}");
}

#[test]
fn what_differs_is_marked_and_missing_hashes_are_told() {
    let mut changed = HASH;
    changed[2].1 = "21";
    let told = lines(&found(&[3 * HOUR, 2 * HOUR], &changed), 9);
    let marked: Vec<&String> = told
        .iter()
        .filter(|line| line.starts_with("differs"))
        .collect();
    assert_eq!(marked.len(), 1);
    assert!(marked[0].contains("total_spend_24h"), "{marked:?}");
    let told = lines(&found(&[2 * HOUR], &[]), 9);
    assert!(told.contains(&"differs  there is no hash of the user".to_owned()));
    let other = Found {
        other_definitions: true,
        ..found(&[2 * HOUR], &HASH)
    };
    let expected =
        "differs  the stored windows are of other feature definitions: is --features right?";
    assert!(lines(&other, 9).contains(&expected.to_owned()));
    let unknown = Found {
        stored: None,
        ..found(&[], &[])
    };
    assert!(lines(&unknown, 9)[0].starts_with("user u: no events since"));
    let report = Report::new(&Definitions::standard(), "u", &unknown);
    assert!(report.differs && report.features.is_empty());
}
