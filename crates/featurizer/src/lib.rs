//! featurizer: keeps sliding-window features per user, in event time, in Redis.
//!
//! A store transaction (MULTI/EXEC), the only thing that changes the stored state:
//!
//! ```text
//! WATCH owner, positions of the worker's partitions, windows that were just read
//! MGET  ... and compare with what this worker wrote last: any other writer has changed a position's token
//! MULTI
//!   HSET features:<user> ...      the values, as of now: at once
//!   ZADD expiry:<topic>:<p> ...   time at which each user has to be evaluated again: at once
//!   APPEND window:<user> ...      the events behind them, or SET with the whole window: at once for a new user and one
//!                                 that moves, otherwise as a checkpoint
//!   SET position:<topic>:<p> ...  where reading resumes, how far hashes are, and a new token
//! EXEC                            nothing at all, if a WATCHed key has changed since
//! ```
//!
//! A stored window tells, for each partition that it holds events of, the next offset to apply. Checkpoints store the
//! windows of users that are evicted, that have changed `--checkpoint` ago, or whose partitions are handed over. The
//! position is a low-water mark: the oldest change that is in no stored window begins there. Who resumes reads from
//! there, lets each window skip what it holds, and writes no hash before it has applied again what hashes show already.
//!
//! Layout, along an event's path from Kafka to Redis:
//!
//! - [`settings`], [`run`], `opening`: flags, the threads of a process, and Redis at its start
//! - `worker`: the loop of a thread; begin here
//! - `setback`: the reasons for going back to the stored positions; only the loop handles them
//! - `attach`, `assignment`: attaching partitions, and the decision where each resumes
//! - `intake`, `batch`: records, and the changes gathered for one commit
//! - `engine`, [`users`]: inserts events into windows, in memory, and stores them
//! - [`store`]: writes the results in fenced transactions
//! - `expiry`: features of users that are silent
//! - `report`, `rejections`, `warm_up`, [`metrics`](mod@metrics): reports of a worker
//! - `page`: the featurizer's section of the live page
//! - [`commands`]: explain, rebuild and doctor, outside of the loop
//!
//! Windows and feature definitions themselves are in `tidemill_core::features`.
//!
//! Words: a *batch* is what was read and not committed; a *transaction* writes a part of it; a *checkpoint* stores windows
//! that are newer in memory; a *position* says where reading resumes; a *token* names the write that stored it; the *lease* is the right to write a partition; a worker
//! *attaches* a partition when it writes its position for the first time; a *building* of windows has an *epoch*; a
//! *warm-up* builds windows from the log; after it, a *sweep* visits all users once; a user's *home* is the partition
//! that its state belongs to; a partition is *blocked* while the store of claims does not answer; a *setback* makes a
//! worker *go back* to the stored positions.
//!
//! Guarantee: each transaction leaves a stored state from which every user's window can be made whole by reading on at the
//! position, and only the worker that wrote there last can execute it. So after a crash, a rebalance, a zombie or a Redis
//! that lost writes, the next transaction begins where the stored state ends.

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
mod page;
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
