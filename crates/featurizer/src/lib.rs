//! featurizer: keeps sliding-window features per user, in event time, in Redis.
//!
//! Layout, in the way of an event from Kafka to Redis:
//!
//! - [`settings`], [`run`], `opening`: flags, the threads of a process, and Redis at its start
//! - [`worker`]: the loop of a thread; begin here
//! - `claim`, `plan`, `partition`, [`position`]: which partitions a worker holds, and where it goes on
//! - `recover`: how it gives them up
//! - `gather`, `batch`: what is read for one step, or for several
//! - `write`: how a batch goes to the store; on the way
//! - `load`, `cache`, [`user`]: the users of a batch, from memory or from Redis
//! - `apply`: windows take in their events, and features are evaluated
//! - [`store`]: what was decided is written in fenced atomic steps
//! - `gauges`, `warm_up`: what a worker tells
//! - `decay`: features of users that are silent
//! - `gauges`, [`metrics`](mod@metrics): what `/metrics` tells
//! - [`explain`], [`rebuild`], [`doctor`]: commands beside the loop
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
pub mod doctor;
pub mod explain;
mod gather;
mod gauges;
mod load;
pub mod metrics;
mod opening;
mod partition;
mod plan;
pub mod position;
pub mod rebuild;
mod recover;
mod run;
pub mod settings;
pub mod store;
pub mod user;
mod warm_up;
pub mod worker;
mod write;

pub use run::run;
