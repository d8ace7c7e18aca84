//! The collector's executable: one command, from its flags to its exit code.

use clap::CommandFactory;
use collector::commands::{doctor, infer, rejects};
use collector::dataset::{Location, inspect, verify};
use collector::run;
use collector::settings::{BINARY, Command, Flags};
use std::process::ExitCode;
use tidemill_core::entry;
use tidemill_core::exit::Failure;
use tidemill_core::printing::{tell, tell_json, tell_report};
use tidemill_core::tell_line;
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    entry::start(&BINARY, command)
}

async fn command(flags: Flags, shutdown: CancellationToken) -> anyhow::Result<ExitCode> {
    let location = |dir: &str| {
        Location::parse(dir).map_err(|problem| Failure::usage(format!("{dir:?}: {problem}")))
    };
    match &flags.command {
        None => {
            let config = flags.validate()?;
            if !flags.shared.print_config {
                run::run(config, shutdown).await?;
            }
        }
        Some(Command::Validate) => {
            flags.validate()?;
            tell_line!("ok  flags, schema and feature definitions can be used")?;
        }
        Some(Command::Doctor { json }) => {
            return doctor::run(&flags.validate()?, *json, shutdown).await;
        }
        Some(Command::Verify { dir, json }) => {
            let group = flags.group_given(&Flags::command().get_matches())?;
            let place = location(dir)?;
            let report = verify::verify(&place, group.as_ref()).await;
            let report = report.map_err(|error| run::unusable(&place, error))?;
            match json {
                true => tell_json(&report)?,
                false => tell_report(&format!("{report}\n"))?,
            }
            return Ok(ExitCode::from(u8::from(!report.faults.is_empty())));
        }
        Some(Command::Inspect { dir, json }) => {
            let place = location(dir)?;
            let view = inspect::inspect(&place).await;
            let view = view.map_err(|error| run::unusable(&place, error))?;
            match json {
                true => tell_json(&view)?,
                false => tell(&view.to_string())?,
            }
            return Ok(ExitCode::from(u8::from(view.is_empty())));
        }
        Some(Command::Rejects { dir }) => {
            let place = location(dir)?;
            let told = rejects::rejects(&place).await;
            told.map_err(|error| run::unusable(&place, error))?;
        }
        Some(Command::Infer) => match infer::infer(&flags.validate()?, &shutdown).await? {
            Some(schema) => tell(&schema)?,
            None => {
                tracing::warn!(
                    "stopped before the end: no schema is printed, since it would be that of a part"
                );
                return Ok(ExitCode::FAILURE);
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}
