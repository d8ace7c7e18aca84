//! The scorer: runs an ONNX fraud model over transactions, and publishes each prediction exactly once.
//!
//! The modules in the order in which a transaction meets them:
//!
//! - [`settings`], [`run`]: flags, and the process from start to end; [`shared`] is the workers' common part
//! - [`worker`]: the loop of one thread, the page to read first
//! - [`input`]: where each partition is read from, and its records as rows of inputs
//! - [`features`]: the users' features in those rows, from Redis, in time or not at all
//! - [`scoring`], [`model`], [`swap`]: rows to scores, not too many at once; the model, and its successors
//! - [`output`]: predictions with receipts, published exactly once and not too often
//!
//! And beside that way: [`commands`] are `check`, `replay`, `--reset` and `doctor`; [`metrics`](mod@metrics) is
//! the table of `/metrics`, [`page`] the scorer's section of the live page.

pub mod commands;
pub mod features;
pub mod input;
pub mod metrics;
pub mod model;
pub mod output;
pub mod page;
pub mod run;
pub mod scoring;
pub mod settings;
pub mod shared;
pub mod swap;
pub mod worker;

#[cfg(test)]
mod any_bytes;
#[cfg(test)]
mod tidy;

use std::process::ExitCode;

use commands::{check, doctor};
use settings::{Command, Flags, Reset};
use tidemill_core::settings::Problems;
use tidemill_core::tell_line;
use tokio_util::sync::CancellationToken;

/// Runs the command that the flags ask for.
///
/// # Errors
///
/// The errors of the command.
pub async fn start(flags: Flags, shutdown: CancellationToken) -> anyhow::Result<ExitCode> {
    match flags.command {
        None => {
            let print_config = flags.shared.print_config;
            let config = flags.validate()?;
            if print_config {
                run::load(&config).await?;
            } else if config.reset == Some(Reset::DryRun) {
                run::would_reset(&config, &shutdown).await?;
            } else {
                run::run(config, shutdown).await?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Doctor { json }) => doctor::run(&flags.validate()?, json, shutdown).await,
        Some(Command::Validate) => {
            let model = run::load(&flags.validate()?).await?;
            tell_line!(
                "ok  flags, model and manifest can be used: {}",
                model.sha256
            )?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Check { file, json }) => {
            tokio::task::spawn_blocking(move || check::check(&file, json)).await?
        }
        Some(Command::Replay {
            ref from,
            ref to,
            json,
        }) => {
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
            run::replay(flags.validate()?, (from, to), json, shutdown).await
        }
    }
}
