//! Dead letters: rejected records with their reason, on a topic of their own.

use super::producer::add_header;
use super::{Outgoing, Producer, Record};
use crate::record::Reject;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sha2::{Digest, Sha256};

/// Room for key, headers and framing beside a value that is as large as the topic allows.
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
    /// A value too large for the topic is left out and its length and SHA-256 given instead.
    pub fn send(
        &self,
        producer: &Producer,
        record: &Record<'_>,
        reject: &Reject,
    ) -> Result<(), KafkaError> {
        let reason = [
            ("topic", self.source.clone()),
            ("reason", reject.reason.code().to_owned()),
        ];
        metrics::counter!("tidemill_dead_letters_total", &reason).increment(1);
        let fits = |value: &[u8]| value.len() + FRAMING <= self.max_bytes;
        if record.value().is_none_or(fits) {
            match producer.send(self.letter(record, reject, true)) {
                Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)) => {}
                outcome => return outcome,
            }
        }
        producer.send(self.letter(record, reject, false))
    }

    fn letter<'a>(&'a self, record: &'a Record<'_>, reject: &Reject, whole: bool) -> Outgoing<'a> {
        let partition = record.partition().to_string();
        let offset = record.offset().to_string();
        let mut headers = record.owned_headers();
        for (key, value) in [
            ("error", reject.error.as_str()),
            ("reason", reject.reason.code()),
            ("source.topic", &self.source),
            ("source.partition", &partition),
            ("source.offset", &offset),
            ("binary", self.binary),
            ("version", self.version),
        ] {
            headers = add_header(headers, key, value);
        }
        if !whole {
            let value = record.value().unwrap_or_default();
            headers = add_header(headers, "value.length", &value.len().to_string());
            headers = add_header(headers, "value.sha256", &hex(&Sha256::digest(value)));
        }
        Outgoing {
            topic: &self.topic,
            key: record.key(),
            value: record.value().filter(|_| whole),
            headers: Some(headers),
            ..Outgoing::default()
        }
    }
}

/// Bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
