//! What the three tidemill binaries share: record contracts, feature logic, Kafka and process plumbing.
//!
//! Layout, in the order a record meets it:
//!
//! - [`settings`], `effective`, [`entry`], [`telemetry`]: flags, start and end of a process, logs
//! - [`kafka`]: connecting, topics, the consumer of a worker, producers and dead letters
//! - [`record`]: decoding of values, timestamps, and the reasons for rejecting a record
//! - [`features`]: feature definitions, and the windows they are evaluated over
//! - [`workers`], [`clock`], [`admin`], [`metric`]: the threads of a process, their time, and what it tells about them
//!   over HTTP
//! - [`doctor`]: what is wrong with a set-up, and the remedy
//!
//! Errors are [`anyhow::Error`] with context, because nobody branches on them; [`record::Reject`] and
//! [`exit::Failure`] are types of their own because there the kind decides what happens next.

pub mod admin;
pub mod clock;
pub mod doctor;
mod effective;
pub mod entry;
pub mod exit;
pub mod features;
pub mod kafka;
pub mod metric;
pub mod record;
pub mod settings;
pub mod telemetry;
pub mod workers;
