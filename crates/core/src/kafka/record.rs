//! A record as it lies in the consumer's memory.

use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};

/// One Kafka message with its coordinates, in the memory of the consumer.
pub struct Record<'a>(pub(super) BorrowedMessage<'a>);

impl Record<'_> {
    /// The partition it lies in.
    pub fn partition(&self) -> i32 {
        self.0.partition()
    }

    /// Where in the partition it lies.
    pub fn offset(&self) -> i64 {
        self.0.offset()
    }

    /// The Kafka timestamp in milliseconds since the epoch.
    pub fn timestamp(&self) -> Option<i64> {
        self.0.timestamp().to_millis().filter(|millis| *millis >= 0)
    }

    /// The key; `None` when it is null.
    pub fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }

    /// The value; `None` when it is null.
    pub fn value(&self) -> Option<&[u8]> {
        self.0.payload()
    }

    /// The headers in their order; a header's value may be null.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let headers = self.0.headers().into_iter().flat_map(|all| all.iter());
        headers.map(|Header { key, value }| (key, value))
    }

    /// A copy of the headers, to be carried on.
    pub(super) fn owned_headers(&self) -> OwnedHeaders {
        self.0.headers().map(|all| all.detach()).unwrap_or_default()
    }
}
