//! The scorer: runs an ONNX fraud model over transactions, and publishes each prediction exactly once.
//!
//! The modules in the order in which a transaction meets them:
//!
//! - [`settings`], [`run`]: flags, and the process from start to end
//! - [`worker`]: the loop of one thread, the page to read first
//! - [`start`], [`partitions`]: where each partition is read from, and the state of each
//! - [`batch`], [`decode`]: records to rows of inputs
//! - [`join`], [`features`]: the users' features in those rows, from Redis, in time or not at all
//! - [`scoring`], [`quota`], [`model`], [`swap`]: rows to scores, not too many at once; the model, and its successors
//! - [`publish`], [`prediction`], [`status`]: scores to predictions with receipts
//! - [`pace`], [`delivery`], [`transaction`]: everything of a batch is published, or nothing, and not too often
//!
//! And beside that way: [`check`] tells what is to be known of a model before it is used, [`replay`]
//! compares a model with predictions made before, [`reset`] moves the group, [`neighbours`] are groups that write to the
//! same place, [`doctor`] finds what is wrong
//! with a set-up; [`metrics`](mod@metrics) are what `/metrics` tells.

pub mod settings;

pub mod run;

pub mod worker;

pub mod start;

pub mod partitions;

pub mod batch;

pub mod decode;

pub mod join;

pub mod features;

pub mod scoring;

pub mod quota;

pub mod model;

pub mod swap;

pub mod publish;

pub mod prediction;

pub mod status;

pub mod pace;

pub mod delivery;

pub mod metrics;

pub mod transaction;

pub mod check;

pub mod replay;

pub mod reset;

pub mod neighbours;

pub mod doctor;

#[cfg(test)]
mod any_bytes;

use std::process::ExitCode;

use settings::{Command, Flags};
use tidemill_core::settings::Problems;
use tokio_util::sync::CancellationToken;

/// Runs the command that the flags ask for.
///
/// # Errors
///
/// Those of the command.
pub async fn start(flags: Flags, shutdown: CancellationToken) -> anyhow::Result<ExitCode> {
    match flags.command {
        None => {
            let print_config = flags.shared.print_config;
            let config = flags.validate()?;
            if !print_config {
                run::run(config, shutdown).await?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Doctor { json }) => doctor::run(&flags.validate()?, json, shutdown).await,
        Some(Command::Check { file, json }) => {
            tokio::task::spawn_blocking(move || check::check(&file, json)).await?
        }
        Some(Command::Replay { ref from, ref to }) => {
            let mut problems = Problems::default();
            let from = problems.time("--from", from);
            let to = to.as_ref().map(|to| problems.time("--to", to));
            if let (Some(from), Some(Some(to))) = (from, to)
                && to <= from
            {
                problems.add("--to lies before --from: give a later time");
            }
            problems.finish()?;
            let (Some(from), to) = (from, to.flatten()) else {
                return Ok(ExitCode::FAILURE);
            };
            run::replay(flags.validate()?, from, to, shutdown).await
        }
    }
}
