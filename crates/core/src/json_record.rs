//! A record as one line of JSON, for programs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// A JSON object with the record's place, key and value, under these names.
pub fn json_record(
    (topic, partition, offset): (&str, i32, i64),
    timestamp_ms: Option<i64>,
    (key, value): (Option<&[u8]>, Option<&[u8]>),
) -> Map<String, Value> {
    let mut record = Map::new();
    record.insert("topic".to_owned(), json!(topic));
    record.insert("partition".to_owned(), json!(partition));
    record.insert("offset".to_owned(), json!(offset));
    record.insert("timestamp_ms".to_owned(), json!(timestamp_ms));
    put(&mut record, "key", key);
    put(&mut record, "value", value);
    record
}

/// Headers, each as an object with name and value.
pub fn json_headers<'r>(headers: impl Iterator<Item = (&'r [u8], Option<&'r [u8]>)>) -> Value {
    let headers = headers.map(|(name, value)| {
        let mut header = Map::new();
        put(&mut header, "name", Some(name));
        put(&mut header, "value", value);
        Value::Object(header)
    });
    headers.collect()
}

/// Puts bytes under a name: as text, or where they are none in base64, under the name and `_base64`.
fn put(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    let text = bytes.map(std::str::from_utf8);
    if let (Some(bytes), Some(Err(_))) = (bytes, &text) {
        let name = format!("{name}_base64");
        object.insert(name, json!(STANDARD.encode(bytes)));
        return;
    }
    object.insert(name.to_owned(), json!(text.and_then(Result::ok)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_where_they_can_be() {
        let record = json_record(("t", 3, 7), Some(5), (None, Some(b"\xff{}")));
        let expected = json!({
            "topic": "t", "partition": 3, "offset": 7, "timestamp_ms": 5, "key": null, "value_base64": "/3t9",
        });
        assert_eq!(Value::Object(record), expected);
        let headers: [(&[u8], Option<&[u8]>); 2] = [(b"a", None), (b"\xff", Some(b"1"))];
        let expected = json!([{"name": "a", "value": null}, {"name_base64": "/w==", "value": "1"}]);
        assert_eq!(json_headers(headers.into_iter()), expected);
    }
}
