//! Recognizes bytes that are not a JSON object, and names the cause and the remedy.

use super::reject::{Reason, Reject};
use serde_json::Value;

/// Bytes of a value quoted in a message.
const QUOTED: usize = 40;

/// Limit of a value that is parsed a second time to recognize it: a message must not cost more than a record.
const LOOKED: usize = 65_536;

/// First bytes that other serializers and compressors write, each with cause and remedy.
const SIGNS: &[(&[u8], &str)] = &[
    (
        b"\xef\xbb\xbf",
        "begins with a byte order mark (EF BB BF): write UTF-8 without one",
    ),
    (b"\xff\xfe", "begins like UTF-16: write UTF-8"),
    (b"\xfe\xff", "begins like UTF-16: write UTF-8"),
    (
        b"\x1f\x8b",
        "begins like gzip: set the producer's compression.type instead, which readers undo themselves",
    ),
    (
        b"\x28\xb5\x2f\xfd",
        "begins like zstd: set the producer's compression.type instead, which readers undo themselves",
    ),
    (
        b"\x04\x22\x4d\x18",
        "begins like lz4: set the producer's compression.type instead, which readers undo themselves",
    ),
    (
        b"\xff\x06\x00\x00sNaPpY",
        "begins like snappy: set the producer's compression.type instead, which readers undo \
     themselves",
    ),
    (b"Obj\x01", "begins like an Avro file: send JSON"),
    (
        b"\xac\xed\x00\x05",
        "begins like a serialized Java object: give the producer a JSON serializer",
    ),
    (
        b"{'",
        "has single quotes, as Python's str() writes: use json.dumps()",
    ),
    (b"<", "begins like XML or HTML: send JSON"),
];

/// The text of a record's value. Errors: the value is null or empty, or not UTF-8.
pub fn text(value: Option<&[u8]>) -> Result<&str, Reject> {
    let bytes = value.unwrap_or_default();
    if bytes.is_empty() {
        return Err(Reject::new(Reason::EmptyValue, "the value is empty"));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let at = format!("at byte {}", error.valid_up_to());
        no_object(bytes, Reason::NotUtf8, &at)
    })
}

/// The reject for a value that is not a JSON object; `error` is the parser's.
pub fn no_object(value: &[u8], reason: Reason, error: &str) -> Reject {
    let said = match cause(value) {
        Some(cause) => format!("the value {cause}"),
        None if reason == Reason::NotUtf8 => {
            format!("the value is not UTF-8 {error}: {}", quoted(value))
        }
        None => match json(value) {
            Some(other) => format!(
                "the value is {}, not an object: {}",
                kind(&other),
                quoted(value)
            ),
            None => format!("the value is not JSON: {} ({error})", quoted(value)),
        },
    };
    Reject::new(reason, said)
}

/// A value of JSON by its kind.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "a JSON null",
        Value::Bool(_) => "a JSON boolean",
        Value::Number(_) => "a JSON number",
        Value::String(_) => "a JSON text",
        Value::Array(_) => "a JSON array",
        Value::Object(_) => "a JSON object",
    }
}

/// The cause, if the bytes show it.
fn cause(value: &[u8]) -> Option<String> {
    if let [0, a, b, c, d, _, ..] = value {
        let schema = u32::from_be_bytes([*a, *b, *c, *d]);
        return Some(format!(
            "begins with a zero byte and the schema id {schema}: the framing of a schema registry, 5 bytes before the \
             data; give the producer a plain JSON serializer"
        ));
    }
    if let Some((_, told)) = SIGNS.iter().find(|(sign, _)| value.starts_with(sign)) {
        return Some((*told).to_owned());
    }
    let Some(parsed) = json(value) else {
        return no_number(value);
    };
    match parsed {
        Value::String(inner) if inner.trim_start().starts_with('{') => Some(
            "is a text that holds an object, JSON encoded twice: send the object itself".into(),
        ),
        Value::Array(all) => Some(format!(
            "is an array of {} elements: send each object as a record of its own",
            all.len()
        )),
        Value::Null => Some("is null in JSON: send no value for a tombstone, or an object".into()),
        _ => None,
    }
}

/// Names a number that other languages write and JSON does not have; outside of texts.
fn no_number(value: &[u8]) -> Option<String> {
    let mut rest = value.get(..value.len().min(LOOKED))?;
    let mut inside = false;
    while let [first, behind @ ..] = rest {
        let word = ["NaN", "Infinity"]
            .into_iter()
            .find(|word| rest.starts_with(word.as_bytes()));
        match (first, word) {
            (b'"', _) => inside = !inside,
            (b'\\', _) if inside => rest = behind,
            (_, Some(word)) if !inside => {
                return Some(format!(
                    "holds {word}, which is no number in JSON: write null"
                ));
            }
            _ => {}
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    None
}

/// The reject for an object without a required field.
pub fn missing(value: Option<&[u8]>, field: &str) -> Reject {
    let hint = value.and_then(|value| elsewhere(value, field));
    let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
    Reject::new(Reason::MissingField, format!("{field} is missing{hint}"))
}

/// The place of a field that the object lacks at its top: in an envelope, or under another spelling.
fn elsewhere(value: &[u8], field: &str) -> Option<String> {
    let Value::Object(object) = json(value)? else {
        return None;
    };
    if object.contains_key(field) {
        return Some("its value is null".into());
    }
    let holds = |inner: &Value| inner.get(field).is_some();
    if let Some((envelope, _)) = object.iter().find(|(_, inner)| holds(inner)) {
        let remedy = match envelope.as_str() {
            "payload" if object.contains_key("schema") => {
                "Kafka Connect's envelope; set value.converter.schemas.enable=false"
            }
            "after" | "before" if object.contains_key("op") => {
                "Debezium's envelope; use its transform ExtractNewRecordState"
            }
            _ => "send that object itself",
        };
        return Some(format!("it lies in {envelope:?}: {remedy}"));
    }
    let plain = |name: &str| -> String {
        let kept = name.chars().filter(|letter| letter.is_alphanumeric());
        kept.flat_map(char::to_lowercase).collect()
    };
    let similar = object.keys().find(|name| plain(name) == plain(field))?;
    Some(format!("there is {similar:?}: rename it"))
}

fn json(value: &[u8]) -> Option<Value> {
    let small = (value.len() <= LOOKED).then_some(value)?;
    serde_json::from_slice(small).ok()
}

/// The beginning of a value, with invisible bytes escaped.
fn quoted(value: &[u8]) -> String {
    let begin = &value[..value.len().min(QUOTED)];
    let dots = if value.len() > QUOTED { "..." } else { "" };
    format!("\"{}{dots}\"", begin.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(value: &[u8]) -> String {
        no_object(
            value,
            Reason::InvalidJson,
            "expected value at line 1 column 1",
        )
        .error
    }

    #[test]
    fn the_cause_is_named() {
        let table: &[(&[u8], &str)] = &[
            (b"\0\0\0\0\x07{\"user_id\":\"u\"}", "schema id 7"),
            (b"\0\0\0\x01\0\x02abc", "schema id 256"),
            (b"\xef\xbb\xbf{\"user_id\":\"u\"}", "byte order mark"),
            (b"\xff\xfe{\0", "UTF-16"),
            (b"\x1f\x8b\x08\0", "begins like gzip"),
            (b"\x28\xb5\x2f\xfd\x04", "begins like zstd"),
            (b"\x04\x22\x4d\x18", "begins like lz4"),
            (b"\xac\xed\0\x05t", "Java object"),
            (b"{'user_id': 'u'}", "json.dumps()"),
            (b"<event/>", "XML"),
            (
                b"{\"amount\": NaN}",
                "holds NaN, which is no number in JSON: write null",
            ),
            (
                b"{\"a\":\"NaN \\\" Infinity\",\"b\":-Infinity}",
                "holds Infinity,",
            ),
            (b"{\"a\":\"NaN\",,}", "the value is not JSON: "),
            (br#""{\"user_id\":\"u\"}""#, "encoded twice"),
            (b"[{},{}]", "an array of 2 elements"),
            (b"null", "null in JSON"),
            (
                b"not json",
                "not JSON: \"not json\" (expected value at line 1 column 1)",
            ),
            (b"a\x07\xc2\xadb", "a\\x07\\xc2\\xadb"),
            (b"\"a text\"", "a JSON text, not an object"),
            (b"12", "a JSON number, not an object"),
            (b"\0", "not JSON"),
        ];
        for (value, part) in table {
            let error = told(value);
            assert!(error.contains(part), "{part} is not in: {error}");
        }
        let long = told(&[b'x'; 1_000]);
        assert!(long.len() < 150 && long.contains("..."), "{long}");
    }

    #[test]
    fn a_missing_field_is_looked_for() {
        let table = [
            (
                r#"{"schema":{"type":"struct"},"payload":{"user_id":"u"}}"#,
                Some("schemas.enable=false"),
            ),
            (
                r#"{"op":"c","before":null,"after":{"user_id":"u"}}"#,
                Some("ExtractNewRecordState"),
            ),
            (r#"{"data":{"user_id":"u"}}"#, Some("it lies in \"data\"")),
            (r#"{"user_id":null}"#, Some("its value is null")),
            (r#"{"userId":"u"}"#, Some("there is \"userId\": rename it")),
            (r#"{"User-ID":"u"}"#, Some("there is \"User-ID\"")),
            (r#"{"user":"u"}"#, None),
            (r#"{"data":{"deeper":{"user_id":"u"}}}"#, None),
            ("[]", None),
        ];
        for (value, part) in table {
            let found = elsewhere(value.as_bytes(), "user_id");
            match part {
                None => assert_eq!(found, None, "{value}"),
                Some(part) => assert!(found.unwrap().contains(part), "{value}"),
            }
        }
    }
}
