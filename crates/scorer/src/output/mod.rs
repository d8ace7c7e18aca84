//! The output: a scored batch becomes records and positions, published together or not at all.
//!
//! From the worker down:
//!
//! - [`outlet`]: a thread beside the worker publishes one batch at a time
//! - [`pace`]: the pause before the next one
//! - [`records`]: the records of a batch, predictions with receipts and dead letters; [`prediction`] writes them
//! - [`delivery`]: sent, and positions committed, under the guarantee that is configured
//! - [`transaction`]: exactly once; `transactional_producer`: one producer, its id, and the remedies for its errors
//!
//! Beside that, [`neighbours`] finds other groups that write to the same topic.

pub mod delivery;
pub mod neighbours;
pub mod outlet;
pub mod pace;
pub mod prediction;
pub mod records;
pub mod transaction;
mod transactional_producer;
