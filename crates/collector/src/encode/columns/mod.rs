//! From JSON records to Arrow columns, without a tree in between.

mod column;
mod coordinates;
mod list;
mod misfits;
mod object;
mod rows;
mod scalar;
mod texts;

pub(crate) use coordinates::Coordinates;
pub(crate) use misfits::Misfits;
pub(crate) use rows::Rows;
pub(crate) use scalar::{parse_timestamp, unescape};

#[cfg(test)]
mod tests;
