//! The headers of a dead letter: the record's own, and those that were added to them.

use std::collections::BTreeMap;

use tidemill_core::record::resent;

/// Headers that every letter has after the record's own.
const ALWAYS: [&str; 7] = [
    resent::TOPIC,
    resent::PARTITION,
    resent::OFFSET,
    "error",
    "reason",
    "binary",
    "version",
];

/// Headers that a letter may have, after [`resent::TOPIC`].
const SOMETIMES: [&str; 6] = [
    resent::TIMESTAMP,
    "source.group",
    "value.length",
    "value.sha256",
    "key.length",
    "key.sha256",
];

/// Names and values, in order.
pub(super) type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Splits the record's own headers from the added ones, which may have the same names. The added ones begin with the
/// last [`resent::TOPIC`]; earlier versions wrote some of them before it.
pub(super) fn parted(mut own: Headers) -> (Headers, BTreeMap<String, String>) {
    let last =
        |own: &Headers, name: &str| own.iter().rposition(|(other, _)| other == name.as_bytes());
    let begin = last(&own, resent::TOPIC).unwrap_or(own.len());
    let behind = own.split_off(begin).into_iter();
    let (mut added, others): (Headers, Headers) = behind.partition(|(name, _)| {
        let mut known = ALWAYS.iter().chain(&SOMETIMES);
        known.any(|known| known.as_bytes() == name)
    });
    for name in ALWAYS {
        let is_missing = last(&added, name).is_none();
        if let Some(place) = last(&own, name).filter(|_| is_missing) {
            added.push(own.remove(place));
        }
    }
    own.extend(others);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    // Of several headers with one name the last counts.
    let added = added.into_iter();
    let added = added.map(|(name, value)| (text(name), text(value.unwrap_or_default())));
    (own, added.collect())
}

#[cfg(test)]
pub(super) fn headers(pairs: &[(&str, &str)]) -> Headers {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (name.as_bytes().to_vec(), Some(value.as_bytes().to_vec())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_headers_stay_whatever_their_names() {
        let source = [
            ("source.topic", "t"),
            ("source.partition", "3"),
            ("source.offset", "7"),
        ];
        let rest = [
            ("source.group", "g"),
            ("error", "e"),
            ("reason", "r"),
            ("version", "1"),
        ];
        let again = [
            ("source.group", "g2"),
            ("error", "e2"),
            ("reason", "r2"),
            ("version", "2"),
        ];
        let own = [
            ("version", "own"),
            ("value.length", "own"),
            ("source.topic", "another"),
        ];
        let added = |rest: &[(&str, &str)]| {
            let all = [&source, rest].concat();
            all.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        for (letter, left, expected, why) in [
            (
                [&own[..], &source, &rest].concat(),
                &own[..],
                &rest[..],
                "a letter",
            ),
            (
                [&source[..], &rest].concat(),
                &[],
                &rest,
                "without headers of its own",
            ),
            (
                [&own[..], &source, &rest, &again].concat(),
                &own,
                &again,
                "of a letter that was sent again",
            ),
            (
                [
                    &own[..],
                    &[("error", "e"), ("reason", "r")],
                    &source,
                    &[("version", "1")],
                ]
                .concat(),
                &own,
                &rest[1..],
                "of an earlier version",
            ),
            (
                [&source[..], &rest, &[("trace", "1")]].concat(),
                &[("trace", "1")],
                &rest,
                "with a header of a client behind",
            ),
        ] {
            let parted = parted(headers(&letter));
            assert_eq!(parted, (headers(left), added(expected)), "{why}");
        }
        let null = vec![(b"null \xff".to_vec(), None)];
        assert_eq!(parted(null.clone()), (null, BTreeMap::new()));
    }
}
