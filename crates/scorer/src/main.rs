//! The scorer's executable: flags to configuration, then the command.

use std::process::ExitCode;

use scorer::settings::{BINARY, Flags};

fn main() -> ExitCode {
    tidemill_core::entry::start(&BINARY, |flags: Flags, shutdown| {
        scorer::start(flags, shutdown)
    })
}
