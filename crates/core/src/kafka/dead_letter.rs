//! Dead letters: rejected records with their reason, on a topic of their own.

use super::{Outgoing, Producer, Record, add_header};
use crate::record::resent::{self, Original};
use crate::record::{Reason, Reject};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use sha2::{Digest, Sha256};

/// Room for our own headers and for framing, in a record as large as the topic allows.
const FRAMING: usize = 4096;

/// Builds the dead letters of one input topic.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    /// The topic of the letters.
    pub topic: String,
    /// The topic of the rejected records.
    pub source: String,
    /// The consumer group that rejects them.
    pub group: String,
    /// The binary that rejects them.
    pub binary: &'static str,
    /// The version of that binary.
    pub version: &'static str,
    /// The largest record that `topic` accepts, in bytes.
    pub max_bytes: usize,
}

impl DeadLetters {
    /// Queues the dead letter of a record: key, value and headers unchanged, and the reject in further headers. A value
    /// too large for the topic is replaced by headers with its length and SHA-256; if key and headers alone are too
    /// large, the key is replaced likewise and the record's headers are left out.
    ///
    /// The further headers begin with those that name the record: `source.topic`, `source.partition`, `source.offset`
    /// and, where it has one, `source.timestamp`. The letter of a copy names the original instead, by the copy's own
    /// headers. `source.group`, `error`, `reason`, `binary` and `version` follow. So in every letter the last header
    /// of a name counts, and the record's own headers end before the last `source.topic`.
    ///
    /// It does not count the letter, see [`DeadLetters::count`]: a queued letter is not yet written.
    ///
    /// Errors: those of [`Producer::send`].
    pub fn send(
        &self,
        producer: &Producer,
        record: &Record<'_>,
        reject: &Reject,
    ) -> anyhow::Result<()> {
        let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        let headers = record.headers();
        let headers: usize = headers
            .map(|(name, value)| name.len() + length(value))
            .sum();
        let bare = length(record.key()) + headers;
        for (keeps, size) in [
            (Keeps::All, bare + length(record.value())),
            (Keeps::KeyAndHeaders, bare),
        ] {
            if size + FRAMING <= self.max_bytes {
                match producer.send(self.letter(record, reject, keeps)) {
                    // The producer has a limit of its own.
                    Err(error) if is_too_large(&error) => {}
                    outcome => return outcome,
                }
            }
        }
        producer.send(self.letter(record, reject, Keeps::Nothing))
    }

    /// Counts a dead letter that was written for this reason.
    pub fn count(&self, reason: Reason) {
        let labels = [
            ("topic", self.source.clone()),
            ("reason", reason.code().to_owned()),
        ];
        metrics::counter!("tidemill_dead_letters_total", &labels).increment(1);
    }

    fn letter<'a>(&'a self, record: &'a Record<'_>, reject: &Reject, keeps: Keeps) -> Outgoing<'a> {
        let (partition, offset) = (record.partition(), record.offset());
        let named = Original::of(record.headers(), &self.source, partition, offset);
        let itself = Original { partition, offset };
        let mut headers = match keeps {
            Keeps::Nothing => OwnedHeaders::new(),
            _ => record.owned_headers(),
        };
        for (name, value) in self.added(named, (itself, record.timestamp()), reject, keeps) {
            headers = add_header(headers, name.as_bytes(), Some(value.as_bytes()));
        }
        let (key, value) = (record.key(), record.value());
        let (keeps_key, keeps_value) = (keeps != Keeps::Nothing, keeps == Keeps::All);
        for (name, part, kept) in [("value", value, keeps_value), ("key", key, keeps_key)] {
            if let (Some(part), false) = (part, kept) {
                let (length, digest) = (part.len().to_string(), hex(&Sha256::digest(part)));
                for (kind, value) in [("length", length), ("sha256", digest)] {
                    let name = format!("{name}.{kind}");
                    headers = add_header(headers, name.as_bytes(), Some(value.as_bytes()));
                }
            }
        }
        Outgoing {
            topic: &self.topic,
            key: key.filter(|_| keeps_key),
            value: value.filter(|_| keeps_value),
            headers: Some(headers),
            ..Outgoing::default()
        }
    }

    /// The headers that follow those kept of the record, which may have `named` an original.
    fn added(
        &self,
        named: Option<Original>,
        (itself, timestamp): (Original, Option<i64>),
        reject: &Reject,
        keeps: Keeps,
    ) -> Vec<(&'static str, String)> {
        let is_kept = named.is_some() && keeps != Keeps::Nothing;
        let original = (!is_kept).then_some(named.unwrap_or(itself));
        let original = original.map(|Original { partition, offset }| {
            let place = [
                (resent::TOPIC, self.source.clone()),
                (resent::PARTITION, partition.to_string()),
                (resent::OFFSET, offset.to_string()),
            ];
            let timestamp = timestamp.map(|millis| (resent::TIMESTAMP, millis.to_string()));
            place.into_iter().chain(timestamp)
        });
        let rest = [
            ("source.group", self.group.clone()),
            ("error", reject.error.clone()),
            ("reason", reject.reason.code().to_owned()),
            ("binary", self.binary.to_owned()),
            ("version", self.version.to_owned()),
        ];
        original.into_iter().flatten().chain(rest).collect()
    }
}

fn is_too_large(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<KafkaError>();
    let code = cause.and_then(KafkaError::rdkafka_error_code);
    code == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

/// The part of a record that goes into its dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    All,
    KeyAndHeaders,
    Nothing,
}

/// Bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Reason;

    fn letters() -> DeadLetters {
        DeadLetters {
            topic: "user-events.dead-letter".to_owned(),
            source: "user-events".to_owned(),
            group: "feature-compute".to_owned(),
            binary: "featurizer",
            version: "1",
            max_bytes: 1_000_000,
        }
    }

    /// The headers of the letter of a record with these headers, at `offset` of partition 3.
    fn letter(own: &[(&str, String)], offset: i64, keeps: Keeps) -> Vec<(String, String)> {
        let read = own
            .iter()
            .map(|(name, value)| (*name, Some(value.as_bytes())));
        let named = Original::of(read, "user-events", 3, offset);
        let itself = Original {
            partition: 3,
            offset,
        };
        let reject = Reject::new(Reason::WrongType, "amount is a text");
        let added = letters().added(named, (itself, Some(1_000)), &reject, keeps);
        let own = if keeps == Keeps::Nothing { &[] } else { own };
        own.iter()
            .cloned()
            .chain(added)
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn source(topic: &str, offset: i64) -> [(&'static str, String); 3] {
        [
            ("source.topic", topic.to_owned()),
            ("source.partition", "3".to_owned()),
            ("source.offset", offset.to_string()),
        ]
    }

    #[test]
    fn a_letter_names_the_original_once() {
        let own = vec![("error", "own".to_owned())];
        let ordinary = own.clone();
        let foreign = [own.clone(), source("another", 7).to_vec()].concat();
        let copy = [own.clone(), source("user-events", 7).to_vec()].concat();
        let later = [own.clone(), source("user-events", 50).to_vec()].concat();
        for (headers, keeps, kept, named, sets) in [
            (&ordinary, Keeps::All, 1, 50, 1),
            (&ordinary, Keeps::Nothing, 0, 50, 1),
            (&foreign, Keeps::All, 4, 50, 2),
            (&copy, Keeps::All, 4, 7, 1),
            (&copy, Keeps::KeyAndHeaders, 4, 7, 1),
            (&copy, Keeps::Nothing, 0, 7, 1),
            (&later, Keeps::All, 4, 50, 2),
        ] {
            let letter = letter(headers, 50, keeps);
            let read = letter
                .iter()
                .map(|(name, value)| (name, Some(value.as_bytes())));
            let original = Original::of(read, "user-events", 3, i64::MAX);
            let expected = Original {
                partition: 3,
                offset: named,
            };
            assert_eq!(original, Some(expected), "{headers:?} {keeps:?}");
            let count = |wanted: &str| letter.iter().filter(|(name, _)| name == wanted).count();
            assert_eq!(count("source.topic"), sets, "{headers:?} {keeps:?}");
            let kept: Vec<_> = headers[..kept]
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            assert!(letter.starts_with(&kept), "own headers stay: {letter:?}");
            let last = &letter[letter.len() - 5..];
            let expected = [
                ("source.group", "feature-compute"),
                ("error", "amount is a text"),
                ("reason", "wrong_type"),
                ("binary", "featurizer"),
                ("version", "1"),
            ];
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(last, expected);
        }
    }
}
