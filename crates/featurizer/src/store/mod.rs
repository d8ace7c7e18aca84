//! The feature store: windows, hashes, expiries and positions in Redis, written in fenced atomic steps.
//!
//! Every worker has a connection of its own. It watches the positions of its partitions and the prefix's owner,
//! and compares them with what it wrote there last; only then, and in the same breath (MULTI/EXEC), it writes.
//! Every write changes the position's token, so whoever else wrote is noticed, be it a new owner of the partition,
//! a zombie, or a Redis that lost its last second. The next step's watch rides behind each EXEC in the same round
//! trip. A connection is dropped at its first error: what it may have left under way is fenced off by the
//! claim with which the next one begins.
//!
//! The only files that name the redis crate are those of this folder.

mod connection;
mod expiries;
mod fenced;
mod keys;
mod owner;
mod pack;
mod peek;
mod reads;
mod step;

pub use connection::{Lost, Redis};
pub use fenced::{Fenced, Outcome, Watched};
pub use keys::Keys;
pub use owner::{Ownership, own};
pub use peek::{Peek, peek};
pub use step::{Step, UserWrite};
