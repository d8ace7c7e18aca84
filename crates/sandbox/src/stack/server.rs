//! A running server of the stack: kill, restart, pause.

use anyhow::Result;

use super::START_LIMIT;
use crate::process::{Launch, Process, Signal};

/// A process that answers on a port of this machine.
#[derive(Debug)]
pub struct Server {
    pub(super) process: Process,
    port: u16,
    answers: fn(u16) -> bool,
}

impl Server {
    /// Starts it; [`Server::wait`] waits until it `answers`.
    pub(super) fn spawn(launch: Launch, port: u16, answers: fn(u16) -> bool) -> Result<Server> {
        let process = Process::spawn(launch)?;
        Ok(Server {
            process,
            port,
            answers,
        })
    }

    /// Waits until it answers.
    pub(super) fn wait(&mut self) -> Result<()> {
        let (port, answers) = (self.port, self.answers);
        self.process.wait_until(START_LIMIT, || answers(port))
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends SIGKILL; the data folder stays.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Restarts after [`Server::kill`], on the same port and data, and waits until it answers.
    pub fn start_again(&mut self) -> Result<()> {
        self.process.start_again()?;
        self.wait()
    }

    /// Sends SIGSTOP: connections stay open, but nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.process.signal(Signal::Stop)
    }

    /// Sends SIGCONT after [`Server::pause`].
    pub fn resume(&self) -> Result<()> {
        self.process.signal(Signal::Continue)
    }
}
