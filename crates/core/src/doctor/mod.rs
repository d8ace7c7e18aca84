//! Problems of a set-up, and their remedies: the part of `doctor` that is the same for all three binaries.
//!
//! - `report`: findings, and their output
//! - [`examine`], `brokers`, `listeners`: query brokers, topics, a sample of records and the group, within seconds and
//!   without changing anything
//! - `claims`: queries their store for one object
//! - `topics`, `sizes`, `sample` with `partitioner`, `group`, [`redis`]: judge the answers, without any I/O
//! - `admin`: judges who can reach the admin address
//!
//! The mistakes of every newcomer are named as people search for them: no brokers available, wrong advertised listener,
//! receives nothing, out of order, lag grows, message too large.

mod admin;
mod brokers;
mod claims;
mod examine;
mod group;
mod listeners;
mod partitioner;
pub mod redis;
mod report;
mod sample;
mod sizes;
mod topics;

pub use examine::{Patient, examine};
pub use report::{Finding, Level, Report};
pub use sample::Seen;
