//! From JSON records to Arrow columns, without a tree in between.

mod column;
mod rows;
mod scalar;

pub(crate) use rows::{Coordinates, Rows};
pub(crate) use scalar::{parse_timestamp, unescape};

#[cfg(test)]
mod tests;
