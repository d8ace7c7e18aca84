//! The collector: a Kafka topic becomes a Parquet data set that holds every record exactly once.
//!
//! The files are the position. Each covers all records of one partition in [first, next), is created only where no
//! file of its name is, and says in its footer where the next one starts; whoever is assigned the partition reads
//! the newest footer and goes on there. So a kill, a rebalance and a process that wakes up after it was replaced are
//! one case: a file that is there already.
//!
//! Layout, in the way of a record:
//!
//! - [`settings`], [`run`]: flags, and a run from its start to its end
//! - `worker`: the loop of every run; `goal`, `pending`, `start`: what it collects, what waits, where it goes on
//! - `stretch`, `sample`, `ends`, `progress`: what bounded runs add
//! - `surroundings`: what others do to the topic and the group; `retry`: outages, and what errors mean
//! - `memory`, `pauses`: which partitions are read while memory is short
//! - `intake`, `buffer`: records since the last file, and where a file ends
//! - `lane`: a partition's batches on their way, in order
//! - `encode`, `json`, `columns`, `schema`, `frozen`: from a batch to the bytes of its files
//! - `features`: columns of what the featurizer would have served at the record's time
//! - [`dataset`]: the files themselves: their names, footers and store, where to go on, and `verify` and `inspect`
//! - [`metrics`](mod@metrics): what `/metrics` tells
//! - [`infer`](mod@infer), [`doctor`]: the other commands

#[cfg(test)]
mod any_bytes;
mod buffer;
mod columns;
pub mod dataset;
pub mod doctor;
mod encode;
mod ends;
mod features;
mod frozen;
mod goal;
pub mod infer;
mod intake;
mod json;
mod lane;
mod memory;
pub mod metrics;
mod pauses;
mod pending;
mod progress;
mod retry;
pub mod run;
mod sample;
mod schema;
pub mod settings;
mod start;
mod stretch;
mod surroundings;
mod worker;

pub use dataset::{Footer, Location};
pub use encode::Codec;
pub use features::Question;
