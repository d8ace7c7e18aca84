//! One pass over a JSON object that picks named top-level fields, borrowing their texts.

use super::reject::{Reason, Reject};
use super::shape::{no_object, text};
use serde::Deserializer;
use serde::de::{Deserialize, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Limit of an id, in bytes.
const ID_BYTES: usize = 512;

/// From here on (2^53), a float does not keep all whole numbers exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The names of the fields to pick; their values come back in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    names: Vec<Box<str>>,
}

/// The value of one field.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value<'a> {
    /// The field is missing or null, which mean the same.
    #[default]
    Absent,
    /// A boolean.
    Bool(bool),
    /// A whole number in the range of i64 and u64.
    Integer(i128),
    /// Any other number; always finite.
    Float(f64),
    /// A string.
    Text(Cow<'a, str>),
    /// An object or an array.
    Nested,
}

impl Fields {
    /// The fields with these names.
    pub fn new<Name: AsRef<str>>(names: impl IntoIterator<Item = Name>) -> Self {
        let names = names.into_iter().map(|name| name.as_ref().into()).collect();
        Self { names }
    }

    /// The index of a field in the decoded values.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|own| **own == *name)
    }

    /// Picks the fields from a record's value, and skips others. Of a repeated name the last value counts, as in most
    /// JSON readers.
    pub fn decode<'a>(&self, value: Option<&'a [u8]>) -> Result<Vec<Value<'a>>, Reject> {
        let text = text(value)?;
        let mut json = serde_json::Deserializer::from_str(text);
        let read = json.deserialize_map(Picking(self));
        let read = read.and_then(|values| json.end().map(|()| values));
        read.map_err(|error| {
            let reason = match error.classify() {
                serde_json::error::Category::Data => Reason::NotAnObject,
                _ => Reason::InvalidJson,
            };
            no_object(text.as_bytes(), reason, &error.to_string())
        })
    }
}

impl<'a> Value<'a> {
    /// An id: a text of 1 to 512 bytes, or an integer as its decimal text. A number with a decimal point or exponent is
    /// refused, even if its fraction is zero: the float does not show the original text.
    pub fn id(&self, field: &str) -> Result<Option<Cow<'a, str>>, Reject> {
        let id = match self {
            Self::Absent => return Ok(None),
            Self::Text(text) => text.clone(),
            Self::Integer(number) => number.to_string().into(),
            Self::Float(number) => return Err(no_id(*number, field)),
            other => return Err(other.wrong(field, "a text or an integer")),
        };
        if id.is_empty() || id.len() > ID_BYTES {
            let error = format!(
                "{field} has {} bytes, 1 to {ID_BYTES} are allowed",
                id.len()
            );
            return Err(Reject::new(Reason::OutOfRange, error));
        }
        Ok(Some(id))
    }

    /// A number; a text that looks like one is refused.
    pub fn number(&self, field: &str) -> Result<Option<f64>, Reject> {
        match self {
            Self::Absent => Ok(None),
            Self::Integer(number) => Ok(Some(*number as f64)),
            Self::Float(number) => Ok(Some(*number)),
            other => Err(other.wrong(field, "a number")),
        }
    }

    /// A number or a bool, which counts as 0 or 1.
    pub fn number_or_bool(&self, field: &str) -> Result<Option<f64>, Reject> {
        match self {
            Self::Bool(flag) => Ok(Some(f64::from(u8::from(*flag)))),
            other => other.number(field),
        }
    }

    /// A text; other types are refused.
    pub fn text(&self, field: &str) -> Result<Option<&str>, Reject> {
        match self {
            Self::Absent => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            other => Err(other.wrong(field, "a text")),
        }
    }

    /// The reject for a value of the wrong type.
    pub fn wrong(&self, field: &str, expected: &str) -> Reject {
        let found = match self {
            Self::Absent => "nothing",
            Self::Bool(_) => "a bool",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::Nested => "an object or an array",
        };
        Reject::new(
            Reason::WrongType,
            format!("{field} is {found}, expected {expected}"),
        )
    }
}

/// The reject for a number that is not an integer, as an id.
fn no_id(number: f64, field: &str) -> Reject {
    let error = if number.abs() >= EXACT {
        format!(
            "{field} is a number of too many digits to be kept exactly, about {number:e}: write it as a text"
        )
    } else if number.fract() == 0.0 {
        format!("{field} is {number:.1}, written as a fraction: write {number} or \"{number}\"")
    } else {
        format!("{field} is {number}, expected a text or an integer")
    };
    Reject::new(Reason::WrongType, error)
}

/// Reads the object, and keeps the fields of [`Fields`].
struct Picking<'f>(&'f Fields);

impl<'de> Visitor<'de> for Picking<'_> {
    type Value = Vec<Value<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<Map: MapAccess<'de>>(self, mut map: Map) -> Result<Self::Value, Map::Error> {
        let mut values = vec![Value::Absent; self.0.names.len()];
        while let Some(found) = map.next_key_seed(Name(self.0))? {
            match found {
                Some(index) => values[index] = map.next_value()?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(values)
    }
}

/// A key, read as the index of the field it names.
struct Name<'f>(&'f Fields);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Option<usize>, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.index(name))
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Absent)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<Seq: SeqAccess<'de>>(self, mut seq: Seq) -> Result<Value<'de>, Seq::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Nested)
    }

    fn visit_map<Map: MapAccess<'de>>(self, mut map: Map) -> Result<Value<'de>, Map::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Nested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(json: &str) -> Result<Vec<Value<'_>>, Reason> {
        Fields::new(["a", "b"])
            .decode(Some(json.as_bytes()))
            .map_err(|reject| reject.reason)
    }

    #[test]
    fn picks_values_of_every_type_and_skips_the_rest() {
        let values = decode(r#"{"x":[{"a":1}],"b":"t\u00e9","a":-3,"y":{"b":2}}"#).unwrap();
        assert_eq!(values, [Value::Integer(-3), Value::Text("té".into())]);
        assert_eq!(
            decode(r#"{"a":null}"#).unwrap(),
            [Value::Absent, Value::Absent]
        );
        assert_eq!(
            decode(r#"{"a":1.5,"b":true}"#).unwrap(),
            [Value::Float(1.5), Value::Bool(true)]
        );
        assert_eq!(
            decode(r#"{"a":{"c":[]},"b":[1]}"#).unwrap(),
            [Value::Nested, Value::Nested]
        );
        let big = decode(r#"{"a":18446744073709551615,"a":7}"#).unwrap();
        assert_eq!(
            big[0],
            Value::Integer(7),
            "the last of a repeated field counts"
        );
    }

    #[test]
    fn names_what_is_wrong_with_a_value() {
        for (json, reason) in [
            ("", Reason::EmptyValue),
            ("{", Reason::InvalidJson),
            ("{} x", Reason::InvalidJson),
            (r#"{"a":NaN}"#, Reason::InvalidJson),
            (r#"{"a":1e999}"#, Reason::InvalidJson),
            ("[1]", Reason::NotAnObject),
            ("null", Reason::NotAnObject),
            ("12", Reason::NotAnObject),
        ] {
            assert_eq!(decode(json).unwrap_err(), reason, "{json}");
        }
        let reject = Fields::new(["a"])
            .decode(Some(b"{\"a\":\"\xff\"}"))
            .unwrap_err();
        assert_eq!(reject.reason, Reason::NotUtf8);
        assert_eq!(
            Fields::new(["a"]).decode(None).unwrap_err().reason,
            Reason::EmptyValue
        );
    }

    #[test]
    fn deep_nesting_is_skipped_or_rejected_but_never_a_crash() {
        let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(decode(&deep), Ok(_) | Err(Reason::InvalidJson)));
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(decode(&deep), Ok(_) | Err(Reason::InvalidJson)));
    }

    #[test]
    fn ids_and_numbers_take_what_their_contract_says() {
        assert_eq!(Value::Integer(42).id("u").unwrap().unwrap(), "42");
        assert_eq!(Value::Absent.id("u").unwrap(), None);
        for (bad, told) in [
            (Value::Float(1.5), "u is 1.5, expected a text or an integer"),
            (
                Value::Float(42.0),
                "u is 42.0, written as a fraction: write 42 or \"42\"",
            ),
            (
                Value::Float(1.234e22),
                "too many digits to be kept exactly, about 1.234e22: write it as a text",
            ),
            (Value::Bool(true), "u is a bool"),
            (Value::Nested, "u is an object"),
        ] {
            let reject = bad.id("u").unwrap_err();
            assert_eq!(reject.reason, Reason::WrongType);
            assert!(reject.error.contains(told), "{}", reject.error);
        }
        let digits = decode(r#"{"a":12345678901234567890123}"#).unwrap();
        assert!(digits[0].id("u").unwrap_err().error.contains("as a text"));
        for text in [String::new(), "x".repeat(513)] {
            assert_eq!(
                Value::Text(text.into()).id("u").unwrap_err().reason,
                Reason::OutOfRange
            );
        }
        assert_eq!(
            Value::Text("1".into()).number("n").unwrap_err().reason,
            Reason::WrongType
        );
        assert_eq!(
            Value::Bool(true).number("n").unwrap_err().reason,
            Reason::WrongType
        );
        assert_eq!(Value::Bool(true).number_or_bool("n").unwrap(), Some(1.0));
    }
}
