//! One feature as its author defined it.

use crate::record::Value;
use std::fmt;

/// The function that makes one value of the counted events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// The number of events.
    Count,
    /// The sum of a field.
    Sum,
    /// The mean of a field.
    Mean,
    /// The smallest value of a field.
    Min,
    /// The largest value of a field.
    Max,
    /// The field's value in the newest event; of events with equal times, in the one that came last.
    Last,
    /// The number of different values of a field.
    Distinct,
    /// The population's standard deviation of a field.
    Stddev,
    /// The time of the newest event, in epoch seconds.
    LastTime,
}

impl Aggregate {
    /// Every aggregate, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Count,
        Self::Sum,
        Self::Mean,
        Self::Min,
        Self::Max,
        Self::Last,
        Self::Distinct,
        Self::Stddev,
        Self::LastTime,
    ];

    /// Its name in `features.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Last => "last",
            Self::Distinct => "distinct",
            Self::Stddev => "stddev",
            Self::LastTime => "last_time",
        }
    }

    /// True if it aggregates a field; false for the events themselves.
    pub fn takes_field(self) -> bool {
        !matches!(self, Self::Count | Self::LastTime)
    }

    /// True if the field must be a number.
    pub fn takes_numbers(self) -> bool {
        self.takes_field() && self != Self::Distinct
    }

    /// True if it may go without a window.
    pub fn may_go_without_window(self) -> bool {
        matches!(self, Self::Last | Self::LastTime)
    }
}

/// The value that a field must equal for an event to count.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A text, equal byte by byte.
    Text(String),
    /// A number, equal as f64.
    Number(f64),
    /// A boolean.
    Bool(bool),
}

impl Scalar {
    /// True if a field's value equals it. An absent value equals nothing.
    pub fn equals(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Text(own), Value::Text(text)) => own == text,
            (Self::Number(own), Value::Integer(number)) => *own == *number as f64,
            (Self::Number(own), Value::Float(number)) => own == number,
            (Self::Bool(own), Value::Bool(flag)) => own == flag,
            _ => false,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bool(flag) => write!(f, "{flag}"),
        }
    }
}

/// The conditions under which an event counts: all of them must hold. Sorted by field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter(pub Vec<(String, Scalar)>);

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (field, scalar)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{field} = {scalar}")?;
        }
        Ok(())
    }
}

/// One `[[feature]]` of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Its name, which is also the field of the hash: `[a-z][a-z0-9_]*`.
    pub name: String,
    /// The function that computes its value.
    pub aggregate: Aggregate,
    /// The event's field that is aggregated; `None` if the aggregate takes none.
    pub field: Option<String>,
    /// The window's length in milliseconds; `None` if it has no window.
    pub window_ms: Option<i64>,
    /// The conditions for an event to count.
    pub filter: Filter,
}

impl fmt::Display for Feature {
    /// The canonical form, from which the fingerprint of the definitions is made.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field.as_deref().unwrap_or_default();
        let window = self.window_ms.unwrap_or_default();
        let (name, aggregate) = (&self.name, self.aggregate.name());
        write!(
            f,
            "{name} = {aggregate}({field}) over {window} ms where {}",
            self.filter
        )
    }
}
