//! The reasons for rejecting a record.

use std::fmt;

/// Limit of an error text, in bytes: more would not help a reader.
const ERROR_BYTES: usize = 500;

/// The reason in the dead letter's `reason` header and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The value is null or has no bytes.
    EmptyValue,
    /// The value is not UTF-8.
    NotUtf8,
    /// The value is not JSON.
    InvalidJson,
    /// The value is JSON, but not an object.
    NotAnObject,
    /// A required field is absent or null.
    MissingField,
    /// A field has a type that its contract does not allow.
    WrongType,
    /// A field's value is outside its range.
    OutOfRange,
    /// The timestamp is not an RFC 3339 time, or is missing in both value and record.
    InvalidTimestamp,
    /// The event's time is more than 5 minutes after the record's own.
    FutureTimestamp,
    /// The model's score is not a finite number.
    NonFiniteScore,
    /// The model has no answer for the inputs, such as an index beyond a table.
    ModelFailed,
    /// The value is a claim that names no object, or one outside of `--claims`.
    ClaimInvalid,
    /// The value is a claim, and the process has no `--claims`.
    ClaimNotConfigured,
    /// The claimed object does not exist.
    ClaimMissing,
    /// The object has another length or SHA-256 than the claim.
    ClaimTampered,
    /// The object is larger than `--max-claim-mb`.
    ClaimTooLarge,
    /// A copy of a rejected record is in another partition than its original.
    ResentElsewhere,
}

impl Reason {
    /// The code in snake_case; it never changes.
    pub fn code(self) -> &'static str {
        match self {
            Self::EmptyValue => "empty_value",
            Self::NotUtf8 => "not_utf8",
            Self::InvalidJson => "invalid_json",
            Self::NotAnObject => "not_an_object",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::InvalidTimestamp => "invalid_timestamp",
            Self::FutureTimestamp => "future_timestamp",
            Self::NonFiniteScore => "non_finite_score",
            Self::ModelFailed => "model_failed",
            Self::ClaimInvalid => "claim_invalid",
            Self::ClaimNotConfigured => "claim_not_configured",
            Self::ClaimMissing => "claim_missing",
            Self::ClaimTampered => "claim_tampered",
            Self::ClaimTooLarge => "claim_too_large",
            Self::ResentElsewhere => "resent_elsewhere",
        }
    }
}

/// A rejected record: the reason for machines, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The kind of fault.
    pub reason: Reason,
    /// The fault in detail, naming the field.
    pub error: String,
}

impl Reject {
    /// A reject for `reason`. `error` names the field and its content, and is cut if the record makes it long, since it
    /// goes into a header.
    pub fn new(reason: Reason, error: impl Into<String>) -> Self {
        let mut error = error.into();
        if error.len() > ERROR_BYTES {
            let whole = error.floor_char_boundary(ERROR_BYTES);
            error.truncate(whole);
            error.push('…');
        }
        Self { reason, error }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.code(), self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_bounded_whatever_the_record_holds() {
        for letter in ["x", "ä", "😀"] {
            let reject = Reject::new(Reason::WrongType, letter.repeat(1_000_000));
            assert!(reject.error.len() < ERROR_BYTES + 8 && reject.error.ends_with('…'));
        }
        assert_eq!(Reject::new(Reason::WrongType, "short").error, "short");
    }
}
