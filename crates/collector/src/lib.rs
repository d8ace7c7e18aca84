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
//! - `worker`: the loop of every run; what it collects, what waits, records since the last file, and memory
//! - `bounded`: what bounded runs add
//! - `pipeline`: a partition's batches on their way into the data set, in order; outages, and what errors mean
//! - `encode`: from a batch to the bytes of its files, and the schema that they share
//! - `features`: columns of what the featurizer would have served at the record's time
//! - [`dataset`]: the files themselves: their names, footers and store, where to go on, and `verify` and `inspect`
//! - `page`: the collector's section of the live page
//! - [`commands`]: the other commands

mod bounded;
pub mod commands;
pub mod dataset;
mod encode;
mod features;
mod page;
mod pipeline;
pub mod run;
pub mod settings;
#[cfg(test)]
mod tidy;
mod worker;

pub use dataset::{Footer, Location};
pub use encode::Codec;
pub use features::Question;
