//! The id of a topic: a topic that was deleted and created again has another one.

use super::raw;
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::{Client, ClientContext};
use std::ffi::CString;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The id of a topic, as Kafka prints it: 22 letters, digits, hyphens and underscores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicId(u128);

impl TopicId {
    /// The id of these bits; `None` for 0, the answer of brokers without topic ids.
    pub(super) fn new(bits: u128) -> Option<Self> {
        (bits != 0).then_some(Self(bits))
    }
}

/// Asks the brokers for the id of a topic, without creating the topic.
///
/// Errors: there is no such topic, or no answer within `wait`.
pub(super) fn ask<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    wait: Duration,
) -> anyhow::Result<Option<TopicId>> {
    let bits = raw::topic_id(client, &CString::new(topic)?, wait);
    let bits = bits.with_context(|| format!("asking for the id of topic {topic}"))?;
    Ok(TopicId::new(bits))
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.to_be_bytes()))
    }
}

/// The error for a text that is not a topic id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTopicId;

impl fmt::Display for NoTopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a topic id has 22 letters, digits, hyphens and underscores")
    }
}

impl std::error::Error for NoTopicId {}

impl FromStr for TopicId {
    type Err = NoTopicId;

    fn from_str(text: &str) -> Result<Self, NoTopicId> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let bits = bytes.and_then(|bytes| Some(u128::from_be_bytes(bytes.try_into().ok()?)));
        bits.and_then(Self::new).ok_or(NoTopicId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_kafka_writes_them() {
        // The id of the cluster metadata topic is fixed (Kafka's Uuid.METADATA_TOPIC_ID).
        let one = TopicId(1);
        assert_eq!(one.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        for bits in [1, u128::MAX, 0xfbff << 112] {
            let id = TopicId(bits);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for wrong in ["", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAA", "a b"] {
            assert_eq!(wrong.parse::<TopicId>(), Err(NoTopicId), "{wrong}");
        }
    }
}
