//! An offset, which is a place in the log of a partition: a type of its own, since Kafka's times are whole numbers too.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use tidemill_core::kafka::StoredPosition;

/// The offset of a record, or a position: the offset at which reading goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(i64);

impl Offset {
    /// The offset after this one.
    pub(crate) fn next(self) -> Self {
        self.plus(1)
    }

    /// The offset before this one.
    pub(crate) fn previous(self) -> Self {
        Self(self.0 - 1)
    }

    /// The offset that is `count` after this one, or the largest there is.
    pub(crate) fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add_unsigned(count))
    }

    /// The number of offsets from `first` up to this one; 0 where this one is not after it.
    pub(crate) fn since(self, first: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(first.0)).unwrap_or(0)
    }
}

impl From<i64> for Offset {
    /// An offset as Kafka's client and Parquet have it.
    fn from(number: i64) -> Self {
        Self(number)
    }
}

impl From<Offset> for i64 {
    fn from(offset: Offset) -> Self {
        offset.0
    }
}

impl From<Offset> for StoredPosition<u64> {
    /// A position without the identity of its log.
    fn from(offset: Offset) -> Self {
        offset.0.into()
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Offset {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_counted_and_written_as_numbers() {
        let [ten, twelve, last] = [10, 12, i64::MAX].map(Offset::from);
        assert_eq!((twelve.since(ten), ten.since(twelve)), (2, 0));
        assert_eq!(
            (ten.next().next(), twelve.previous().previous()),
            (twelve, ten)
        );
        assert_eq!((ten.plus(2), last.plus(3)), (twelve, last));
        assert_eq!(format!("{ten} {ten:05}"), "10 00010");
        assert_eq!("10".parse(), Ok(ten));
        assert_eq!(serde_json::to_string(&ten).unwrap(), "10");
        assert_eq!(serde_json::from_str::<Offset>("12").unwrap(), twelve);
    }
}
