//! featurizer: keeps sliding-window features per user, in event time, in Redis.
//!
//! A store transaction (MULTI/EXEC), which is all that ever changes what is stored:
//!
//! ```text
//! WATCH owner, positions of the worker's partitions, windows that were just read
//! MGET  ... and compare with what this worker wrote last: whoever else wrote has changed a position's token
//! MULTI
//!   HSET features:<user> ...      the values, as of now
//!   APPEND window:<user> ...      the events behind them, or SET with the whole window
//!   ZADD expiry:<topic>:<p> ...   when each user has to be evaluated again
//!   SET position:<topic>:<p> ...  how far the partition is applied, with a new token
//! EXEC                            nothing at all, if a WATCHed key has changed since
//! ```
//!
//! Layout, in the way of an event from Kafka to Redis:
//!
//! - [`settings`], [`run`], `opening`: flags, the threads of a process, and Redis at its start
//! - `worker`: the loop of a thread; begin here
//! - `setback`: the reasons for going back to the stored positions; only the loop answers them
//! - `attach`, `assignment`: taking partitions, and the decision where each goes on
//! - `intake`, `batch`: records, and what is read for one commit
//! - `engine`, [`users`]: windows take in their events, in memory
//! - [`store`]: what was decided is written in fenced transactions
//! - `expiry`: features of users that are silent
//! - `report`, `rejections`, `warm_up`, [`metrics`](mod@metrics): what a worker says, and what others do
//! - [`commands`]: explain, rebuild and doctor, beside the loop
//!
//! Windows and feature definitions themselves are `tidemill_core::features`.
//!
//! Words: a *batch* is what was read and not committed; a *transaction* writes a part of it; a *position* is the next
//! offset to be applied; a *token* names the write that stored it; the *lease* is the right to write a partition; a
//! worker *attaches* a partition when it writes its position for the first time; a *building* of windows has an *epoch*;
//! a *warm-up* builds windows from the log; a *sweep* looks at all users once behind it; a user's *home* is the partition
//! that its state belongs to; a partition is *blocked* while the store of claims does not answer; a *setback* makes a
//! worker *go back* to the stored positions.
//!
//! Guarantee: the position of a partition is written together with everything that its records up to there have
//! changed, and only by the worker that wrote there last. So whatever happens in between, be it a crash, a
//! rebalance, a zombie or a Redis that lost writes, the next transaction begins where the stored state ends.

#[cfg(test)]
mod any_bytes;
mod assignment;
mod attach;
mod batch;
pub mod commands;
mod engine;
mod expiry;
mod intake;
pub mod metrics;
mod opening;
mod rejections;
mod relapse;
mod report;
mod run;
mod setback;
pub mod settings;
pub mod store;
#[cfg(test)]
mod tidy;
pub mod users;
mod warm_up;
mod worker;

pub use run::run;
