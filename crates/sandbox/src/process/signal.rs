//! Signals to processes by id, through the shell's `kill`, since the standard library can only kill.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A signal that a test or the sandbox sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ends the process at once, without cleaning up (SIGKILL).
    Kill,
    /// Asks the process to end (SIGTERM).
    Terminate,
    /// Pauses the process until [`Signal::Continue`] (SIGSTOP).
    Stop,
    /// Resumes the process (SIGCONT).
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

    /// Sends this signal to the process `pid`; fails if there is no such process.
    pub fn send(self, pid: u32) -> Result<()> {
        if shell_kill(&format!("-{}", self.name()), pid)? {
            Ok(())
        } else {
            bail!("no process {pid} to send {} to", self.name())
        }
    }
}

/// True if a process with this id exists.
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
