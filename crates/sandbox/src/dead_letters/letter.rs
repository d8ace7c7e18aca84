//! One dead letter: a record as it was, the program that rejected it, and the reason.

use std::collections::BTreeMap;
use std::fmt;

use crate::visible::visible;
use rdkafka::message::{BorrowedMessage, Message as _, OwnedHeaders};
use serde_json::{Value, json};
use tidemill_core::json_record::{json_headers, json_record};
use tidemill_core::kafka;
use tidemill_core::record::resent;

use super::headers::{Headers, parted};

/// Limit of the characters shown of a key or value.
const SHOWN: usize = 160;

/// A rejected record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Letter {
    partition: i32,
    offset: i64,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    /// The record's own headers.
    headers: Headers,
    /// The headers added after them.
    added: BTreeMap<String, String>,
    pub(super) reason: String,
    /// The group that rejected the record; empty if the letter does not say.
    pub(super) group: String,
    /// The topic of the record; empty if the letter does not say.
    pub(super) source: String,
}

/// The identity of a rejected record: letters about one record have the same.
pub(super) type Subject<'a> = (
    &'a str,
    (i32, i64),
    Option<&'a [u8]>,
    Option<&'a [u8]>,
    Option<&'a str>,
);

impl Letter {
    /// Reads a record of a dead-letter topic.
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Letter {
        let headers = kafka::headers(message);
        let headers = headers.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_owned)));
        let letter = Letter {
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_owned),
            value: message.payload().map(<[u8]>::to_owned),
            ..Letter::default()
        };
        letter.with_headers(headers.collect())
    }

    /// Takes all headers of a letter.
    fn with_headers(self, headers: Headers) -> Letter {
        let (headers, added) = parted(headers);
        let find = |name| added.get(name).cloned();
        Letter {
            reason: find("reason").unwrap_or_else(|| "(none)".to_owned()),
            group: find("source.group").unwrap_or_default(),
            source: find(resent::TOPIC).unwrap_or_default(),
            headers,
            added,
            ..self
        }
    }

    /// A letter with these headers; `place` is both its offset and its time.
    #[cfg(test)]
    pub(super) fn for_test(place: i64, headers: &[(&str, &str)], value: &str) -> Letter {
        let letter = Letter {
            offset: place,
            timestamp_ms: Some(place),
            value: Some(value.into()),
            ..Letter::default()
        };
        letter.with_headers(super::headers::headers(headers))
    }

    fn added(&self, name: &str) -> Option<&str> {
        self.added.get(name).map(String::as_str)
    }

    /// Partition and offset of the rejected record in its topic.
    pub(super) fn original(&self) -> Option<(i32, i64)> {
        let partition = self.added(resent::PARTITION)?.parse().ok()?;
        Some((partition, self.added(resent::OFFSET)?.parse().ok()?))
    }

    /// The record that the letter is about, or the letter itself if it names none. It includes the content, since a
    /// topic of the same name may have had other records at the same offsets.
    pub(super) fn subject(&self) -> Subject<'_> {
        let itself = ("", (self.partition, self.offset));
        let (topic, place) = match self.original() {
            Some(original) if !self.source.is_empty() => (self.source.as_str(), original),
            _ => itself,
        };
        let digest = self.added("value.sha256");
        (
            topic,
            place,
            self.key.as_deref(),
            self.value.as_deref(),
            digest,
        )
    }

    /// Sort key of letters by age.
    pub(super) fn age(&self) -> (Option<i64>, i32, i64) {
        (self.timestamp_ms, self.partition, self.offset)
    }

    /// The Kafka timestamp of a copy: that of the record, or of the letter if the letter does not name it.
    pub(super) fn copy_timestamp(&self) -> Option<i64> {
        let named = self.added(resent::TIMESTAMP);
        let named = named.and_then(|millis| millis.parse().ok());
        named.or(self.timestamp_ms)
    }

    /// True if key and value are complete, and their topic is known.
    pub(super) fn is_whole(&self) -> bool {
        let cut = ["value.length", "key.length"].map(|name| self.added(name));
        !self.source.is_empty() && cut == [None, None]
    }

    /// Identifies the letter within its topic, even if the topic is re-created.
    pub(super) fn mark(&self) -> String {
        let Letter {
            partition,
            offset,
            timestamp_ms,
            ..
        } = self;
        format!("{partition}:{offset}:{}", timestamp_ms.unwrap_or_default())
    }

    /// The headers of a copy of the record: its own, and those that name the original.
    pub(super) fn copy_headers(&self) -> OwnedHeaders {
        let own = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_deref()));
        let names = self.original().map(|(partition, offset)| {
            let place = [
                (resent::TOPIC, self.source.clone()),
                (resent::PARTITION, partition.to_string()),
                (resent::OFFSET, offset.to_string()),
            ];
            let timestamp = self.added(resent::TIMESTAMP);
            let timestamp = timestamp.map(|millis| (resent::TIMESTAMP, millis.to_owned()));
            place.into_iter().chain(timestamp)
        });
        let names: Vec<_> = names.into_iter().flatten().collect();
        let names = names.iter();
        let names = names.map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())));
        own.chain(names)
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                kafka::add_header(headers, key, value)
            })
    }

    /// The letter for programs; `topic` is that of the letters.
    pub(super) fn to_json(&self, topic: &str, sent_back: bool) -> Value {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_slice(), value.as_deref()));
        let mut line = json_record(
            (topic, self.partition, self.offset),
            self.timestamp_ms,
            (self.key.as_deref(), self.value.as_deref()),
        );
        line.insert("headers".to_owned(), json_headers(headers));
        let number = |name| self.added(name).and_then(|text| text.parse::<i64>().ok());
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let source = json!({
            "topic": given(&self.source),
            "partition": number(resent::PARTITION),
            "offset": number(resent::OFFSET),
            "timestamp_ms": number(resent::TIMESTAMP),
        });
        line.insert("source".to_owned(), source);
        line.insert("group".to_owned(), json!(given(&self.group)));
        for name in ["reason", "error", "binary", "version"] {
            line.insert(name.to_owned(), json!(self.added(name)));
        }
        // Of what was too large to be kept.
        for name in ["key.length", "key.sha256", "value.length", "value.sha256"] {
            if let Some(text) = self.added(name) {
                line.insert(name.replace('.', "_"), json!(text));
            }
        }
        line.insert("sent_back".to_owned(), json!(sent_back));
        Value::Object(line)
    }

    /// The minute in which the letter was written, in RFC 3339.
    pub(super) fn minute(&self) -> String {
        let time = self
            .timestamp_ms
            .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
        time.map_or_else(
            || "unknown".to_owned(),
            |time| time.strftime("%Y-%m-%dT%H:%MZ").to_string(),
        )
    }
}

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |name| self.added(name).unwrap_or("?");
        write!(
            f,
            "{} partition {} offset {}, by {} {}: {}; key {} value {}",
            self.source,
            part(resent::PARTITION),
            part(resent::OFFSET),
            part("binary"),
            part("version"),
            part("error"),
            shown(self.key.as_deref()),
            shown(self.value.as_deref())
        )
    }
}

/// Bytes as text, with invisible characters and invalid UTF-8 escaped.
fn shown(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else {
        return "null".to_owned();
    };
    // A character has at most 4 bytes.
    let text = visible(&bytes[..bytes.len().min(4 * SHOWN)]);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_every_part_by_name() {
        let headers = [
            ("own", "1"),
            ("source.topic", "t"),
            ("source.partition", "3"),
            ("source.offset", "7"),
            ("source.group", "g"),
            ("reason", "wrong_type"),
            ("error", "amount is a text"),
            ("binary", "scorer"),
            ("version", "0.1.0"),
        ];
        let letter = Letter::for_test(5, &headers, "{}");
        let expected = json!({
            "topic": "t.dead-letter", "partition": 0, "offset": 5, "timestamp_ms": 5, "key": null, "value": "{}",
            "headers": [{"name": "own", "value": "1"}],
            "source": {"topic": "t", "partition": 3, "offset": 7, "timestamp_ms": null},
            "group": "g", "reason": "wrong_type", "error": "amount is a text", "binary": "scorer", "version": "0.1.0",
            "sent_back": true,
        });
        assert_eq!(letter.to_json("t.dead-letter", true), expected);
    }

    #[test]
    fn what_is_invisible_is_shown() {
        for (bytes, expected) in [
            (&b"it's \"here\""[..], "it's \"here\""),
            ("\u{feff}{}\u{200b}".as_bytes(), "\\u{feff}{}\\u{200b}"),
            (b"\0\x1b[2J\n", "\\u{0}\\u{1b}[2J\\n"),
            (b"caf\xe9 \xc3\xa9", "caf\\xe9 é"),
        ] {
            assert_eq!(shown(Some(bytes)), expected);
        }
        assert_eq!(shown(None), "null");
        let long = shown(Some("é".repeat(1_000).as_bytes()));
        assert_eq!(long, "é".repeat(SHOWN) + "…");
    }
}
