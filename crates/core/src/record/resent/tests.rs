//! Tables of decisions, and logs of rejects and copies against a plain list of the records that count.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const EVENTS: &str = "user-events";

type Header = (&'static [u8], Option<&'static [u8]>);

fn coordinates(
    topic: &'static [u8],
    partition: &'static [u8],
    offset: &'static [u8],
) -> Vec<Header> {
    vec![
        (b"source.topic", Some(topic)),
        (b"source.partition", Some(partition)),
        (b"source.offset", Some(offset)),
    ]
}

#[test]
fn a_copy_is_told_by_the_last_headers_of_each_name() {
    let original = |partition, offset| Some(Original { partition, offset });
    let events = |partition, offset| coordinates(b"user-events", partition, offset);
    let noise: Header = (b"\xff", Some(b"\xff"));
    let null: Header = (b"source.offset", None);
    let cases = [
        (vec![], None),
        (events(b"3", b"7"), original(3, 7)),
        (coordinates(b"another", b"3", b"7"), None),
        // The record's own headers come first.
        (
            [
                coordinates(b"another", b"9", b"own"),
                vec![noise],
                events(b"3", b"99"),
                vec![noise],
            ]
            .concat(),
            original(3, 99),
        ),
        (
            [events(b"3", b"7"), coordinates(b"another", b"3", b"8")].concat(),
            None,
        ),
        (events(b"3", b"7")[..2].to_vec(), None),
        ([events(b"3", b"7"), vec![null]].concat(), None),
        (events(b"3", b"-1"), None),
        (events(b"-1", b"7"), None),
        (events(b"4294967299", b"7"), None),
        (events(b"3", b"9223372036854775808"), None),
        (events(b"3", b"7\xff"), None),
        // Itself, or a later record of its partition; offsets of another partition say nothing.
        (events(b"3", b"100"), None),
        (events(b"4", b"100"), original(4, 100)),
    ];
    for (headers, expected) in cases {
        let read = Original::of(headers.iter().copied(), EVENTS, 3, 100);
        assert_eq!(read, expected, "{headers:?}");
    }
}

#[test]
fn a_copy_in_another_partition_is_rejected_with_the_remedy() {
    let original = Original {
        partition: 3,
        offset: 7,
    };
    assert_eq!(original.within(3), Ok(7));
    let reject = original.within(4).unwrap_err();
    assert_eq!(reject.reason, Reason::ResentElsewhere);
    for part in [
        "partition 3 offset 7",
        "in partition 4",
        "--resend",
        "to partition 3",
    ] {
        assert!(reject.error.contains(part), "{}", reject.error);
    }
}

/// A state built from 100 on, which rejected 110 and 120 and counted a copy of 120.
fn judged() -> Judged {
    let mut judged = Judged::new(100);
    judged.reject(110);
    judged.reject(120);
    assert!(judged.admit(120, 200));
    judged
}

#[test]
fn an_original_counts_once() {
    for (original, first, why) in [
        (110, true, "it was rejected"),
        (120, false, "a copy counts"),
        (115, false, "it was accepted"),
        (99, true, "the state begins after it"),
        (100, false, "the first that was read"),
        (199, false, "the last that was read"),
    ] {
        let mut judged = judged();
        assert_eq!(judged.admit(original, 200), first, "{why}");
        assert!(!judged.admit(original, 200), "once: {why}");
        assert!(!judged.admit(original, 300), "once: {why}");
    }
    let mut judged = judged();
    assert!(
        judged.admit(200, 200) && judged.admit(200, 200),
        "no copy of this log"
    );
    assert_eq!(judged.entries().len(), 2, "nothing is noted of it");
}

#[test]
fn a_copy_that_is_rejected_leaves_its_original_rejected() {
    for original in [110, 99] {
        let mut judged = judged();
        assert!(judged.admit(original, 200));
        judged.reject(original);
        assert!(judged.admit(original, 300), "a further copy counts");
        assert!(!judged.admit(original, 400));
    }
}

#[test]
fn what_is_forgotten_counts_no_more() {
    let mut judged = judged();
    judged.forget_before(111);
    judged.forget_before(50);
    assert_eq!(judged.floor(), 111);
    assert!(!judged.admit(110, 200) && !judged.admit(99, 200));
    judged.reject(110);
    assert_eq!(
        judged.entries().collect::<Vec<_>>(),
        [(120, Verdict::Counted)]
    );

    let mut judged = Judged::new(0);
    (0..MOST_ENTRIES as i64 + 2).for_each(|offset| judged.reject(offset));
    assert_eq!((judged.entries().len(), judged.floor()), (MOST_ENTRIES, 2));
    assert_eq!(judged.bytes(), MOST_ENTRIES * ENTRY_BYTES);
    let next = i64::MAX;
    assert!(!judged.admit(0, next) && !judged.admit(1, next));
    assert!(judged.admit(2, next) && !judged.admit(2, next));
}

#[test]
fn what_is_stored_is_restored() {
    let mut judged = judged();
    judged.forget_before(105);
    let restored = Judged::restore(judged.begin(), judged.floor(), judged.entries());
    assert_eq!(restored, judged);
}

/// A record of a log of two partitions.
#[derive(Clone, Debug)]
struct Written {
    partition: i32,
    /// True if the state can use it.
    good: bool,
    /// Distance in the log to the record that it is a copy of, or whose original it is a copy of.
    copy_of: Option<usize>,
    /// True if, as a copy, it is in the partition of its original.
    at_home: bool,
}

fn log() -> impl Strategy<Value = Vec<Written>> {
    let copy_of = prop::option::weighted(0.6, 1..12_usize);
    let written = (0..2_i32, any::<bool>(), copy_of, prop::bool::weighted(0.9));
    let written = written.prop_map(|(partition, good, copy_of, at_home)| Written {
        partition,
        good,
        copy_of,
        at_home,
    });
    prop::collection::vec(written, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A state that begins at any offset, and is stored and restored after any record.
    #[test]
    fn an_original_counts_exactly_once_where_it_or_a_copy_is_acceptable(
        log in log(),
        begin in prop::array::uniform2(0..10_i64),
        stored in prop::collection::vec(any::<bool>(), 60),
    ) {
        let mut judged = begin.map(Judged::new);
        let mut next = [0_i64; 2];
        // The identity of each record of the log: its own coordinates, or those of its original.
        let mut identities: Vec<(i32, i64)> = Vec::new();
        let mut counted: HashMap<(i32, i64), usize> = HashMap::new();
        let mut acceptable: HashMap<(i32, i64), bool> = HashMap::new();
        for (place, written) in log.iter().enumerate() {
            let named = written.copy_of.and_then(|back| identities.get(place.checked_sub(back)?)).copied();
            let partition = match named {
                Some((home, _)) if written.at_home => home,
                _ => written.partition,
            };
            let index = partition as usize;
            let offset = next[index];
            next[index] += 1;
            let identity = named.unwrap_or((partition, offset));
            identities.push(identity);
            if offset < begin[index] {
                continue;
            }
            let headers = named.map(|(partition, offset)| [
                (TOPIC, EVENTS.to_owned()),
                (PARTITION, partition.to_string()),
                (OFFSET, offset.to_string()),
            ]);
            let headers = headers.iter().flatten().map(|(name, value)| (*name, Some(value.as_bytes())));
            let original = Original::of(headers, EVENTS, partition, offset);
            prop_assert_eq!(original.map(|original| (original.partition, original.offset)), named);
            let judged = &mut judged[index];
            let is_at_home = named.is_none_or(|(home, _)| home == partition);
            if is_at_home {
                *acceptable.entry(identity).or_default() |= written.good;
            }
            let judged_as = match judged.judge(original, partition, offset) {
                Err(reject) => {
                    prop_assert_eq!((is_at_home, reject.reason), (false, Reason::ResentElsewhere));
                    continue;
                }
                Ok(None) => continue,
                Ok(Some(offset)) => offset,
            };
            prop_assert_eq!(judged_as, identity.1);
            match written.good {
                true => *counted.entry(identity).or_default() += 1,
                false => judged.reject(judged_as),
            }
            if stored[place] {
                *judged = Judged::restore(judged.begin(), judged.floor(), judged.entries());
            }
        }
        for (identity, good) in acceptable {
            prop_assert_eq!(counted.get(&identity).copied().unwrap_or(0), usize::from(good), "{:?}", identity);
        }
    }
}

#[test]
fn copies_of_records_that_were_deleted_unread_count_once() {
    let mut judged = Judged::new(0);
    judged.skip(5, 8);
    judged.skip(10, 11);
    assert_eq!(judged.skipped(), [(5, 8), (10, 11)]);
    for (original, counts) in [
        (4, false),
        (5, true),
        (5, false),
        (7, true),
        (8, false),
        (10, true),
    ] {
        assert_eq!(judged.admit(original, 20), counts, "{original}");
    }
}
