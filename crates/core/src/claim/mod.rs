//! Claims: values that refer to objects too large for a topic.
//!
//! A value `{"$claim":{"path":"...","length":N,"sha256":"..."}}` refers to the object at `path` below `--claims`, which
//! is fetched before anything is decoded. The record itself stays as it is: dead letters and fingerprints are made of
//! the claim. A claim that can never be resolved rejects the record; a store that does not answer is waited for.

mod fetches;
mod flags;
mod held;
mod reference;
mod resolver;

pub use fetches::Fetches;
pub use flags::{ClaimFlags, Claims};
pub use held::Held;
pub use reference::{is_claim, length};
pub use resolver::Resolver;

use crate::record::Reject;
use std::fmt;
use std::time::Duration;

/// The content to decode for a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The record's own value, which is not a claim.
    Own,
    /// The bytes of the object that the value refers to.
    Object(Vec<u8>),
    /// A claim that can never be resolved.
    Unusable(Reject),
}

impl Content {
    /// The bytes to decode, given the record's own value.
    pub fn of<'a>(&'a self, own: Option<&'a [u8]>) -> Result<Option<&'a [u8]>, Reject> {
        match self {
            Self::Own => Ok(own),
            Self::Object(bytes) => Ok(Some(bytes)),
            Self::Unusable(reject) => Err(reject.clone()),
        }
    }
}

/// The store of the claimed objects does not answer; a later attempt may succeed.
#[derive(Clone, Debug)]
pub struct Unavailable {
    /// The store's error, with the object's path.
    pub error: String,
    /// Duration of the attempt.
    pub took: Duration,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store of --claims does not answer: {}", self.error)
    }
}

impl std::error::Error for Unavailable {}
