//! The feature store: windows, hashes, expiries and positions in Redis, written in fenced transactions.
//!
//! Every worker has a connection of its own. Its [`Lease`] WATCHes the positions of its partitions and the prefix's
//! owner, compares them with what it wrote there last, and writes with MULTI/EXEC only then. A connection is dropped
//! at its first error: the next one begins with an attach, which fences off any transaction left under way.
//!
//! The files of this folder are the only ones that name the redis crate.

mod connection;
mod door;
mod keys;
mod lease;
#[cfg(test)]
pub(crate) mod memory;
mod owner;
mod peek;
pub(crate) mod position;
mod queries;
mod resp;
mod transaction;

pub use connection::{Lost, Redis};
pub use door::Door;
pub use keys::Keys;
pub use lease::{Hold, Lease, Outcome, Watched};
pub use owner::{Ownership, own};
pub use peek::{Peek, peek};
pub use position::{Again, Building, Position, Shown, Token};
pub use queries::{Expiries, Page, StoredUser};
pub use tidemill_core::kafka::fingerprint;
pub use transaction::{HashWrite, StoreTransaction};
