//! The input: partitions and their positions, records, and the rows that are made of them.
//!
//! - [`start`]: the position from which an assigned partition is read
//! - `first`: the same for a group without positions: is it new, or is the topic?
//! - [`partitions`]: the state of each partition, and whether a record is the next one
//! - [`batch`], [`decode`]: records taken in, each a row of inputs or a reject

pub mod batch;
pub mod decode;
mod first;
pub mod partitions;
pub mod start;
