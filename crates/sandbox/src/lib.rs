//! Development tools around the three binaries; nothing depends on this crate.
//!
//! Layout:
//!
//! - [`commands`]: the command line
//! - [`stack`]: a local Kafka and Redis, found or started, without Docker
//! - [`clean`], `place`: what all of this leaves on the machine, and where; the checkout, or where it is installed
//! - [`simulate`]: customers, merchants and fraudsters with known truth
//! - [`produce`], [`consume`]: put a record on a topic, see what arrives
//! - [`dead_letters`]: list rejected records with reasons, and send them back
//! - [`demo`]: the whole path on live traffic, ending in a checked report
//! - [`bench`]: the speed of each binary, next to the limit and a plain loop
//! - [`harness`]: real executables as child processes, for tests and the demo
//! - [`kafka`], [`oracle`]: read topics, and recompute outputs from the log, without core's code
//! - [`process`], [`progress`]: child processes; spinners and bars
//! - `visible`: bytes as text
//!
//! A check of a binary shares no code with it: a mistake must not be able to confirm itself.

pub mod bench;
pub mod clean;
pub mod commands;
pub mod consume;
pub mod dead_letters;
pub mod demo;
pub mod harness;
pub mod kafka;
pub mod oracle;
mod place;
pub mod process;
pub mod produce;
pub mod progress;
pub mod simulate;
pub mod stack;
mod visible;
