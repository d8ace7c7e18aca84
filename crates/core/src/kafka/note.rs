//! The metadata of a commit: what its member writes to, and what tells the log of its position from others.

use super::{StoredPosition, TopicId};
use std::fmt::Write as _;

/// Longest text about what a member writes to, in bytes. Brokers take metadata of 4096 bytes as a rule, and refuse the
/// whole commit where there is more.
const LONGEST: usize = 2048;

/// Bytes of the checksum that stands for the end of a longer text, with its separator.
const TAIL: usize = 17;

const TOPIC: &str = "; topic ";
const LAST: &str = "; last ";

/// The destination of a member, in a form that fits into the metadata: a long text keeps its beginning, and a checksum of
/// all of it tells it from others.
pub(super) fn bounded(writes_to: &str) -> String {
    if writes_to.len() <= LONGEST {
        return writes_to.to_owned();
    }
    let kept = writes_to.floor_char_boundary(LONGEST - TAIL);
    let sum = super::fingerprint(None, None, Some(writes_to.as_bytes()));
    format!("{}#{sum:016x}", &writes_to[..kept])
}

/// The metadata of a position.
pub(super) fn write(writes_to: &str, position: &StoredPosition<u64>) -> String {
    let mut text = writes_to.to_owned();
    if let Some(topic) = position.topic {
        let _fits = write!(text, "{TOPIC}{topic}");
    }
    if let Some(last) = position.last {
        let _fits = write!(text, "{LAST}{last:016x}");
    }
    text
}

/// The destination of the member, and the position that is `next`. Metadata that other programs wrote are about the former
/// alone.
pub(super) fn read(metadata: &[u8], next: i64) -> (String, StoredPosition<u64>) {
    let text = String::from_utf8_lossy(metadata);
    let mut position = StoredPosition::from(next);
    let mut rest = text.as_ref();
    if let Some((before, last)) = rest.rsplit_once(LAST)
        && let Ok(last) = u64::from_str_radix(last, 16)
    {
        (rest, position.last) = (before, Some(last));
    }
    if let Some((before, topic)) = rest.rsplit_once(TOPIC)
        && let Ok(topic) = topic.parse::<TopicId>()
    {
        (rest, position.topic) = (before, Some(topic));
    }
    (rest.to_owned(), position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_read_back_as_they_were_written() {
        let topic = TopicId::new(7);
        for writes_to in ["", "output topic t", "prefix \"; topic x; last 0\""] {
            for (topic, last) in [
                (None, None),
                (topic, None),
                (None, Some(1)),
                (topic, Some(u64::MAX)),
            ] {
                let position = StoredPosition {
                    topic,
                    next: 5,
                    last,
                };
                let text = write(writes_to, &position);
                let expected = (writes_to.to_owned(), position);
                assert_eq!(read(text.as_bytes(), 5), expected, "{text}");
            }
        }
        assert_eq!(read(b"\xff", 3), ("\u{fffd}".to_owned(), 3.into()));
    }

    #[test]
    fn long_texts_fit_and_still_differ() {
        let long = |end: char| "é".repeat(3_000) + &String::from(end);
        let (one, other) = (bounded(&long('a')), bounded(&long('b')));
        assert!(one != other && one == bounded(&long('a')));
        let position = StoredPosition {
            topic: TopicId::new(u128::MAX),
            next: 0,
            last: Some(0),
        };
        assert!(write(&one, &position).len() < 4_096);
        assert_eq!(bounded("output topic t"), "output topic t");
    }
}
