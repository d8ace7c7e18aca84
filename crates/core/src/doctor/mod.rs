//! What is wrong with a set-up, and the remedy: the part of `doctor` that is the same for all three binaries.
//!
//! - `report`: findings, and how they are shown
//! - [`examine`], `brokers`, `listeners`: brokers, topics, a sample of records and the group, asked within seconds and changed by nothing
//! - `claims`: their store, asked for one object
//! - `topics`, `sizes`, `sample` with `partitioner`, `group`, [`redis`]: what is made of the answers, without asking anything
//!
//! The mistakes that every newcomer makes are named as they would be searched for: no brokers available, wrong
//! advertised listener, receives nothing, out of order, lag grows, message too large.

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
