//! Signals to processes by id, through the shell's `kill`, since the standard library only knows how to kill.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A signal a test or the sandbox sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Stop at once, without a chance to clean up (`kill -9`).
    Kill,
    /// Please end (`SIGTERM`).
    Terminate,
    /// Stand still until [`Signal::Continue`] (`SIGSTOP`).
    Stop,
    /// Go on (`SIGCONT`).
    Continue,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Signal::Kill => "KILL",
            Signal::Terminate => "TERM",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        }
    }

    /// Sends this signal to the process `pid`; an error means that there is no such process any more.
    pub fn send(self, pid: u32) -> Result<()> {
        if shell_kill(&format!("-{}", self.name()), pid)? {
            Ok(())
        } else {
            bail!("no process {pid} to send {} to", self.name())
        }
    }
}

/// Whether a process with this id exists.
pub fn is_alive(pid: u32) -> bool {
    shell_kill("-0", pid).unwrap_or(false)
}

fn shell_kill(option: &str, pid: u32) -> Result<bool> {
    let status = Command::new("sh")
        .args(["-c", "kill \"$0\" \"$1\"", option, &pid.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot run sh to send a signal")?;
    Ok(status.success())
}
