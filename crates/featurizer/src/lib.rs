//! featurizer: keeps sliding-window features per user, in event time, in Redis.
//!
//! Layout, in the way of an event from Kafka to Redis:
//!
//! - [`settings`], [`run`]: flags, and the threads of a process
//! - [`worker`]: the loop of a thread; begin here
//! - `claim`, `partition`, [`position`]: which partitions a worker holds, and where it goes on
//! - `batch`: what is gathered for one step
//! - `load`, `cache`, [`user`]: the users of a batch, from memory or from Redis
//! - `apply`: windows take in their events, and features are evaluated
//! - [`store`]: what was decided is written in one fenced atomic step
//! - `decay`: features of users that are silent
//! - [`explain`], [`rebuild`]: commands beside the loop
//!
//! Windows and feature definitions themselves are `tidemill_core::features`.
//!
//! Guarantee: the position of a partition is written together with everything that its records up to there have
//! changed, and only by the worker that wrote there last. So whatever happens in between, be it a crash, a
//! rebalance, a zombie or a Redis that lost writes, the next step begins where the stored state ends.

#[cfg(test)]
mod any_bytes;
mod apply;
mod batch;
mod cache;
mod claim;
mod decay;
pub mod explain;
mod gauges;
mod load;
mod partition;
pub mod position;
pub mod rebuild;
mod run;
pub mod settings;
pub mod store;
pub mod user;
pub mod worker;

pub use run::run;
