//! One dead letter: the record as it was, and why it was set aside.

use std::fmt;

use crate::visible::visible;
use rdkafka::message::{BorrowedMessage, Message as _, OwnedHeaders};
use tidemill_core::kafka;

/// What the binaries add to a record's own headers, always after them.
const ADDED: [&str; 9] = [
    "error",
    "reason",
    "source.topic",
    "source.partition",
    "source.offset",
    "binary",
    "version",
    "value.length",
    "value.sha256",
];

/// The most of a value that is shown.
const SHOWN: usize = 160;

/// A record that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    /// The record's own headers.
    headers: Own,
    /// What was added to them.
    added: Vec<(String, String)>,
    pub(super) reason: String,
    /// The topic that it came from; empty where it does not say.
    pub(super) source: String,
}

impl Letter {
    /// What a message says.
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Letter {
        let headers = kafka::headers(message);
        let headers = headers.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_owned)));
        let (headers, added) = parted(headers.collect());
        let find = |name: &str| {
            let found = added.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone())
        };
        Letter {
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_owned),
            value: message.payload().map(<[u8]>::to_owned),
            reason: find("reason").unwrap_or_else(|| "(none)".to_owned()),
            source: find("source.topic").unwrap_or_default(),
            headers,
            added,
        }
    }

    fn added(&self, name: &str) -> Option<&str> {
        let found = self.added.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// It is whole, and says where it came from.
    pub(super) fn can_be_resent(&self) -> bool {
        !self.source.is_empty() && self.added("value.length").is_none()
    }

    /// Names it among the letters of its topic, also where that was made anew.
    pub(super) fn mark(&self) -> String {
        let Letter {
            partition,
            offset,
            timestamp_ms,
            ..
        } = self;
        format!("{partition}:{offset}:{}", timestamp_ms.unwrap_or_default())
    }

    /// The partition to go back to: that of the key, else where it was.
    pub(super) fn partition_back(&self) -> Option<i32> {
        match self.key {
            Some(_) => None,
            None => self.added("source.partition")?.parse().ok(),
        }
    }

    /// The record's own headers.
    pub(super) fn own_headers(&self) -> OwnedHeaders {
        let empty = OwnedHeaders::new_with_capacity(self.headers.len());
        self.headers.iter().fold(empty, |headers, (name, value)| {
            kafka::add_header(headers, name, value.as_deref())
        })
    }

    /// When it was set aside.
    pub(super) fn time(&self) -> String {
        let time = self
            .timestamp_ms
            .and_then(|millis| jiff::Timestamp::from_millisecond(millis / 1000 * 1000).ok());
        time.map_or_else(|| "unknown".to_owned(), |time| time.to_string())
    }
}

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |name| self.added(name).unwrap_or("?");
        write!(
            f,
            "{} partition {} offset {}, by {} {}: {}; ",
            self.source,
            part("source.partition"),
            part("source.offset"),
            part("binary"),
            part("version"),
            part("error")
        )?;
        let text = |bytes: &Option<Vec<u8>>| match bytes {
            Some(bytes) => visible(bytes).chars().take(SHOWN).collect(),
            None => "null".to_owned(),
        };
        write!(f, "key {} value {}", text(&self.key), text(&self.value))
    }
}

/// Names and values of headers.
type Own = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Parts what was added from a record's own headers, which may have the same names: what is added comes last.
fn parted(mut headers: Own) -> (Own, Vec<(String, String)>) {
    let mut added = Vec::new();
    for name in ADDED {
        if let Some(place) = headers.iter().rposition(|(key, _)| key == name.as_bytes()) {
            let (_, value) = headers.remove(place);
            added.push((
                name.to_owned(),
                String::from_utf8_lossy(&value.unwrap_or_default()).into_owned(),
            ));
        }
    }
    (headers, added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_headers_stay_whatever_their_names() {
        let header = |key: &str, value: &str| (key.into(), Some(value.into()));
        let (null, bytes) = ((b"null".to_vec(), None), (b"\xff\xfe".to_vec(), None));
        let own = vec![header("version", "own"), null, header("trace", "1"), bytes];
        let ours = [
            header("error", "e"),
            header("reason", "r"),
            header("version", "0.1.0"),
        ];
        let (left, added) = parted([own.clone(), ours.to_vec()].concat());
        assert_eq!(left, own);
        let expected = [("error", "e"), ("reason", "r"), ("version", "0.1.0")];
        assert_eq!(
            added,
            expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
    }
}
