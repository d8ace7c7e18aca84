//! The code that the three tidemill binaries share: record contracts, feature logic, Kafka and process plumbing.
//!
//! Layout, in the order in which a record meets it:
//!
//! - [`command_line`], [`settings`], `effective`, [`entry`], [`telemetry`]: flags, start and end of a process, logs
//! - [`redis_access`], [`redis_verdict`], [`redis_server`]: address, password and certificates of a Redis, the meaning
//!   of its errors, and its fitness for features
//! - [`kafka`]: connecting, topics, the consumer of a worker, producers and dead letters
//! - [`claim`], [`location`]: values that refer to larger objects, and the places of those
//! - [`record`]: decoding of values, timestamps, and the reasons for rejecting a record
//! - [`features`]: feature definitions, and the windows they are evaluated over
//! - [`workers`], [`clock`]: the threads of a process, and their time
//! - [`health`], [`pulse`], [`metric`], [`admin`], [`status`]: readiness and metrics, served over HTTP, and the live page
//! - [`doctor`], [`printing`], [`json_record`], [`progress`], [`spelling`]: problems of a set-up, with remedies; reports
//!   and remarks of commands; records as JSON; bars; words that were meant
//!
//! Errors are [`anyhow::Error`] with context, because no caller branches on them; [`record::Reject`] and
//! [`exit::Failure`] are types of their own because there the kind decides what happens next.

pub mod admin;
#[cfg(test)]
mod any_bytes;
pub mod claim;
pub mod clock;
pub mod command_line;
pub mod doctor;
mod effective;
pub mod entry;
pub mod exit;
pub mod features;
pub mod health;
pub mod json_record;
pub mod kafka;
pub mod location;
pub mod metric;
pub mod printing;
pub mod progress;
pub mod pulse;
pub mod record;
pub mod redis_access;
pub mod redis_server;
pub mod redis_verdict;
pub mod settings;
pub mod spelling;
pub mod status;
pub mod telemetry;
pub mod workers;
