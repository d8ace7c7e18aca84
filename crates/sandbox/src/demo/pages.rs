//! The live pages of the three programs: their addresses, and the browser that shows them.

use std::process::{Command, Stdio};

use anyhow::Result;
use tidemill_core::{remark_line, tell_line};

use super::Programs;

/// Programs that open an address in the user's browser, on Linux and on macOS.
const OPENERS: [&str; 2] = ["xdg-open", "open"];

/// Prints the addresses, and opens them if that is wished.
pub(super) fn tell(programs: &Programs, open: bool) -> Result<()> {
    tell_line!("live pages:")?;
    let all = [
        ("featurizer", &programs.featurizer),
        ("scorer", &programs.scorer),
        ("collector", &programs.collector),
    ];
    for (name, program) in all {
        let address = format!("http://127.0.0.1:{}/", program.admin_port());
        tell_line!("  {name:10} {address}")?;
        if open {
            show(&address);
        }
    }
    Ok(())
}

/// Opens an address; where that is not possible, the demo goes on without.
fn show(address: &str) {
    let opened = OPENERS.iter().any(|opener| {
        let mut command = Command::new(opener);
        command.arg(address).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    if !opened {
        remark_line!("no browser could be opened: go to {address} yourself");
    }
}
