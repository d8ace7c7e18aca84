//! The users' features in the rows of a batch: from Redis, in time or not at all.
//!
//! - [`join`]: which features are read, and how they fill a row
//! - [`client`]: the read itself, bounded in time
//! - [`connect`]: the connection, opened in the background
//! - [`status`]: how each input got its value, as receipts say

pub mod client;
pub mod connect;
pub mod join;
pub mod status;
