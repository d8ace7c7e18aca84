//! Decides whether a record can become a row: its value has to be a JSON object in UTF-8.

use crate::encode::json::{self, Malformed, Member};
use tidemill_core::record::{Reason, Reject, no_object, text};

/// Splits a record's value into the members of its object; returns the text they lie in. What `members` held before is
/// dropped.
///
/// Errors: the value is no object; the reject names the cause.
pub(crate) fn object<'a>(
    value: Option<&'a [u8]>,
    members: &mut Vec<Member<'a>>,
) -> Result<&'a str, Reject> {
    let text = text(value)?;
    json::members(text, members).map_err(|malformed| {
        let reason = match malformed {
            Malformed::OtherType => Reason::NotAnObject,
            Malformed::Syntax { .. } => Reason::InvalidJson,
        };
        no_object(text.as_bytes(), reason, &malformed.to_string())
    })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_is_named() {
        for (value, expected) in [
            (None, Err(Reason::EmptyValue)),
            (Some(&b""[..]), Err(Reason::EmptyValue)),
            (Some(b"{\"a\":\"\xff\"}"), Err(Reason::NotUtf8)),
            (Some(b"[1]"), Err(Reason::NotAnObject)),
            (Some(b"{\"a\":}"), Err(Reason::InvalidJson)),
            (Some(b" {\"a\":1}"), Ok(" {\"a\":1}")),
        ] {
            let mut members = Vec::new();
            let found = object(value, &mut members).map_err(|reject| reject.reason);
            assert_eq!(found, expected, "{value:?}");
            assert_eq!(members.len(), usize::from(expected.is_ok()));
        }
    }
}
