//! Dead letters: rejected records with their reason, on a topic of their own.

use super::{Outgoing, Producer, Record, add_header};
use crate::record::Reject;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use sha2::{Digest, Sha256};

/// Room for our own headers and for framing beside a record that is as large as the topic allows.
const FRAMING: usize = 4096;

/// Builds the dead letters of one input topic.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    /// The topic they go to.
    pub topic: String,
    /// The topic that the rejected records lie in.
    pub source: String,
    /// The binary that rejects them.
    pub binary: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The largest record that `topic` takes, in bytes.
    pub max_bytes: usize,
}

impl DeadLetters {
    /// Queues the dead letter of a record: key, value and headers as they are, and the reject in further headers.
    /// A value too large for the topic is left out and its length and SHA-256 given instead; where key and headers
    /// are too large by themselves, so are they.
    ///
    /// Errors: those of [`Producer::send`].
    pub fn send(
        &self,
        producer: &Producer,
        record: &Record<'_>,
        reject: &Reject,
    ) -> anyhow::Result<()> {
        let reason = [
            ("topic", self.source.clone()),
            ("reason", reject.reason.code().to_owned()),
        ];
        metrics::counter!("tidemill_dead_letters_total", &reason).increment(1);
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

    fn letter<'a>(&'a self, record: &'a Record<'_>, reject: &Reject, keeps: Keeps) -> Outgoing<'a> {
        let partition = record.partition().to_string();
        let offset = record.offset().to_string();
        let mut headers = match keeps {
            Keeps::Nothing => OwnedHeaders::new(),
            _ => record.owned_headers(),
        };
        for (key, value) in [
            ("error", reject.error.as_str()),
            ("reason", reject.reason.code()),
            ("source.topic", &self.source),
            ("source.partition", &partition),
            ("source.offset", &offset),
            ("binary", self.binary),
            ("version", self.version),
        ] {
            headers = add_header(headers, key.as_bytes(), Some(value.as_bytes()));
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
}

fn is_too_large(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<KafkaError>();
    let code = cause.and_then(KafkaError::rdkafka_error_code);
    code == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

/// How much of a record goes into its dead letter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    All,
    KeyAndHeaders,
    Nothing,
}

/// Bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
