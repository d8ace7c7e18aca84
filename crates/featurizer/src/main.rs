//! The featurizer's process: flags, logs and signals around the library.

use featurizer::settings::{BINARY, Flags, Task};
use featurizer::{explain, rebuild, run};
use std::process::ExitCode;
use tidemill_core::entry;

fn main() -> ExitCode {
    entry::start(&BINARY, |flags: Flags, shutdown| async move {
        let (config, task) = flags.validate()?;
        match task {
            Task::Run => run(config, shutdown).await.map(|()| ExitCode::SUCCESS),
            Task::Explain { user, at } => explain::run(&config, &user, at, shutdown).await,
            Task::Rebuild { partition } => {
                let done = rebuild::run(&config, partition, shutdown).await;
                done.map(|()| ExitCode::SUCCESS)
            }
        }
    })
}
