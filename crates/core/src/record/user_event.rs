//! Records of `user-events`: an event of a user, or the erasure of a user.

use super::{Reason, Reject, Value, missing, timestamp};
use crate::features::{Definitions, field};
use std::borrow::Cow;

/// The content of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserRecord<'a> {
    /// An event of a user.
    Event {
        /// The user's id.
        user: Cow<'a, str>,
        /// The time of the event (epoch ms).
        time: i64,
    },
    /// A key without a value (tombstone): all state of the user is to be erased.
    Erasure {
        /// The user's id.
        user: Cow<'a, str>,
    },
}

/// Decodes a record; appends the part of an event that the features need to `entry` (see [`Definitions::entry`]).
///
/// An absent action is a purchase, and an absent amount 0. A rejected record leaves `entry` unchanged.
pub fn decode<'a>(
    definitions: &Definitions,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    record_timestamp: Option<i64>,
    entry: &mut Vec<u8>,
) -> Result<UserRecord<'a>, Reject> {
    if let (Some(key), None) = (key, value) {
        let user = std::str::from_utf8(key).map_err(|_| {
            Reject::new(
                Reason::NotUtf8,
                "the key of an erasure is not UTF-8, and so no user's",
            )
        })?;
        let key = "the key of an erasure";
        let user = Value::Text(Cow::Borrowed(user)).id(key)?;
        let user = user.ok_or_else(|| missing(None, key))?;
        return Ok(UserRecord::Erasure { user });
    }
    let mut values = definitions.fields().decode(value)?;
    let user = values[field::USER].id("user_id")?;
    let user = user.ok_or_else(|| missing(value, "user_id"))?;
    if values[field::ACTION].text("action")?.is_none() {
        values[field::ACTION] = Value::Text(Cow::Borrowed("purchase"));
    }
    if values[field::AMOUNT].number("amount")?.is_none() {
        values[field::AMOUNT] = Value::Integer(0);
    }
    let name = definitions.timestamp();
    let time = timestamp::event_time(&values[field::TIME], name, record_timestamp)?;
    definitions.entry(time, &values, entry)?;
    Ok(UserRecord::Event { user, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_771_151_400_000;

    fn event(json: &str) -> Result<(String, i64, Vec<u8>), Reason> {
        let mut entry = Vec::new();
        let definitions = Definitions::standard();
        let value = Some(json.as_bytes());
        match decode(&definitions, Some(b"k"), value, Some(NOW), &mut entry) {
            Ok(UserRecord::Event { user, time }) => Ok((user.into_owned(), time, entry)),
            Ok(UserRecord::Erasure { .. }) => unreachable!("there is a value"),
            Err(reject) => {
                assert!(entry.is_empty(), "a rejected record leaves no entry");
                Err(reject.reason)
            }
        }
    }

    #[test]
    fn the_value_decides_and_absent_fields_have_defaults() {
        let whole = r#"{"user_id":"u_12345","action":"purchase","amount":49.99,
            "timestamp":"2026-02-15T10:30:00Z","item_category":"electronics"}"#;
        let (user, time, entry) = event(whole).unwrap();
        assert_eq!((user.as_str(), time), ("u_12345", NOW));
        let bare = r#"{"user_id":7,"amount":null,"extra":[1]}"#;
        let (user, time, other) = event(bare).unwrap();
        assert_eq!((user.as_str(), time), ("7", NOW));
        let zero = r#"{"user_id":7,"amount":0,"action":"purchase","timestamp":1771151400}"#;
        assert_eq!(event(zero).unwrap().2, other);
        assert_ne!(entry, other);
    }

    #[test]
    fn what_breaks_the_contract_is_rejected_with_its_reason() {
        for (json, reason) in [
            (r#"{"action":"purchase"}"#, Reason::MissingField),
            (r#"{"user_id":null}"#, Reason::MissingField),
            (r#"{"user_id":""}"#, Reason::OutOfRange),
            (r#"{"user_id":1.5}"#, Reason::WrongType),
            (r#"{"user_id":"u","amount":"49.99"}"#, Reason::WrongType),
            (r#"{"user_id":"u","amount":true}"#, Reason::WrongType),
            (r#"{"user_id":"u","action":1}"#, Reason::WrongType),
            (
                r#"{"user_id":"u","timestamp":"yesterday"}"#,
                Reason::InvalidTimestamp,
            ),
            (
                r#"{"user_id":"u","timestamp":1771151701}"#,
                Reason::FutureTimestamp,
            ),
            ("", Reason::EmptyValue),
            ("[]", Reason::NotAnObject),
        ] {
            assert_eq!(event(json).unwrap_err(), reason, "{json}");
        }
        assert!(event(r#"{"user_id":"u","timestamp":1771151700}"#).is_ok());
    }

    #[test]
    fn a_key_without_value_erases() {
        let definitions = Definitions::standard();
        let mut entry = Vec::new();
        let mut decode = |key| decode(&definitions, key, None, Some(NOW), &mut entry);
        let user = Cow::Borrowed("u_1");
        assert_eq!(decode(Some(b"u_1")), Ok(UserRecord::Erasure { user }));
        assert_eq!(decode(None).unwrap_err().reason, Reason::EmptyValue);
        assert_eq!(decode(Some(b"")).unwrap_err().reason, Reason::OutOfRange);
        assert_eq!(decode(Some(b"\xff")).unwrap_err().reason, Reason::NotUtf8);
    }
}
