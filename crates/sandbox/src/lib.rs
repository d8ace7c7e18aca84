//! Development tools around the three binaries; nothing depends on this crate.
//!
//! Layout:
//!
//! - [`commands`]: the command line
//! - [`stack`]: a local Kafka and Redis, found or started, without Docker
//! - [`simulate`]: customers, merchants and fraudsters with known truth
//! - [`produce`], [`consume`]: put a record on a topic, see what arrives
//! - [`dead_letters`]: what was set aside and why, and back with it
//! - [`demo`]: the whole path on live traffic, ending in a checked report
//! - [`bench`]: how fast, beside the limit and a plain loop
//! - [`harness`]: real executables as child processes, for tests and the demo
//! - [`kafka`], [`oracle`]: topics read, and outputs computed again from the log, apart from core's code
//! - [`process`], [`progress`], `visible`: child processes; spinners and bars; bytes as text
//!
//! What checks a binary here shares no code with it: a mistake must not be able to confirm itself.

pub mod bench;
pub mod commands;
pub mod consume;
pub mod dead_letters;
pub mod demo;
pub mod harness;
pub mod kafka;
pub mod oracle;
pub mod process;
pub mod produce;
pub mod progress;
pub mod simulate;
pub mod stack;
mod visible;
