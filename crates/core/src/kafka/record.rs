//! A record in the consumer's memory.

use super::raw;
use rdkafka::message::{BorrowedMessage, Message, OwnedHeaders};

/// One Kafka message with its coordinates, in the memory of the consumer.
pub struct Record<'a>(BorrowedMessage<'a>);

impl<'a> Record<'a> {
    pub(super) fn new(message: BorrowedMessage<'a>) -> Self {
        Self(message)
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.0.partition()
    }

    /// The offset in the partition.
    pub fn offset(&self) -> i64 {
        self.0.offset()
    }

    /// The Kafka timestamp in milliseconds since the epoch.
    pub fn timestamp(&self) -> Option<i64> {
        self.0.timestamp().to_millis().filter(|millis| *millis >= 0)
    }

    /// The key; `None` if it is null.
    pub fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }

    /// The value; `None` if it is null.
    pub fn value(&self) -> Option<&[u8]> {
        self.0.payload()
    }

    /// The headers in their order: a name, which need not be UTF-8, and a value, which may be null. A name ends before
    /// its first zero byte here; [`Record::owned_headers`] has all of it.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        raw::headers(&self.0)
    }

    /// A fingerprint of time, key and value, which identifies the log.
    pub fn fingerprint(&self) -> u64 {
        super::fingerprint(self.timestamp(), self.key(), self.value())
    }

    /// A copy of the headers, byte for byte.
    pub(super) fn owned_headers(&self) -> OwnedHeaders {
        self.0.headers().map(|all| all.detach()).unwrap_or_default()
    }
}
