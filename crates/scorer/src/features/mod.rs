//! The users' features in the rows of a batch: from Redis, in time or not at all.
//!
//! - [`join`]: which features are read, and how they fill a row
//! - [`client`]: the read itself, bounded in time
//! - [`connect`]: the connection, opened in the background
//! - [`pulse`]: the readiness of the process, as far as Redis is concerned
//! - `unreadable`: users whose keys hold something else
//! - [`status`]: how each input got its value, as receipts say

pub mod client;
pub mod connect;
pub mod join;
pub mod pulse;
pub mod status;
mod unreadable;

#[cfg(test)]
mod server;
