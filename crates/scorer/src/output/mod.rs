//! What goes out: a scored batch becomes records and positions, published together or not at all.
//!
//! From the worker down:
//!
//! - [`outlet`]: a thread beside the worker publishes one batch at a time
//! - [`pace`]: how often it does
//! - [`records`]: what is sent for a batch, predictions with receipts and dead letters; [`prediction`] writes them
//! - [`delivery`]: sent, and positions committed, under the guarantee that is configured
//! - [`transaction`]: exactly once; `transactional_producer`: one producer, its id, and what its errors ask for
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
