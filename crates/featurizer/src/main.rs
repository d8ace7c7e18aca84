//! The featurizer's process: flags, logs and signals around the library.

use featurizer::commands::{doctor, explain, rebuild};
use featurizer::run;
use featurizer::settings::{BINARY, Flags, Task};
use std::process::ExitCode;
use tidemill_core::entry;
use tidemill_core::printing::tell;
use tidemill_core::tell_line;

fn main() -> ExitCode {
    entry::start(&BINARY, |flags: Flags, shutdown| async move {
        let print_config = flags.shared.print_config;
        let (config, task) = flags.validate()?;
        match task {
            Task::Run if print_config => Ok(ExitCode::SUCCESS),
            Task::Validate => {
                let doubts = config.definitions.doubts();
                let doubts = doubts.iter().map(|doubt| format!("warning  {doubt}\n"));
                tell(&doubts.collect::<String>())?;
                tell_line!("ok  flags and feature definitions can be used")?;
                Ok(ExitCode::SUCCESS)
            }
            Task::Run => run(config, shutdown).await.map(|()| ExitCode::SUCCESS),
            Task::Explain {
                user,
                at,
                last,
                json,
            } => explain::run(&config, &user, at, (last, json), shutdown).await,
            Task::Doctor { json } => doctor::run(&config, json, shutdown).await,
            Task::Rebuild(what) => {
                let done = rebuild::run(&config, what, shutdown).await;
                done.map(|()| ExitCode::SUCCESS)
            }
        }
    })
}
