//! One of the three binaries at work, with its admin pages.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};

use super::binaries::Binaries;
use crate::process::{Launch, Process, Signal};
use crate::stack::ports;

/// Time limit for a start, including the first start of a consumer group on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Time limit for ending after SIGTERM: the binaries promise 10 s.
const END_LIMIT: Duration = Duration::from_secs(12);

/// A running featurizer, scorer or collector.
#[derive(Debug)]
pub struct Program {
    process: Process,
    admin_port: u16,
}

impl Program {
    /// Starts the executable `binary` with these arguments and admin pages on a free port.
    ///
    /// `label` names its log file in `folder`: two programs of one kind need two labels.
    pub fn start(
        binary: &str,
        label: &str,
        folder: &Path,
        arguments: Vec<OsString>,
    ) -> Result<Program> {
        let program = Binaries::build()?.path(binary);
        Program::start_in(&[], program, label, folder, arguments)
    }

    /// The same for any executable, with these environment variables.
    pub(super) fn start_in(
        environment: &[(String, String)],
        program: PathBuf,
        label: &str,
        folder: &Path,
        arguments: Vec<OsString>,
    ) -> Result<Program> {
        let admin_port = ports::free()?;
        // As a variable: subcommands do not take the flag.
        let admin = ("ADMIN_ADDR".to_owned(), format!("127.0.0.1:{admin_port}"));
        let launch = Launch {
            name: label.to_owned(),
            program,
            arguments,
            environment: environment.iter().cloned().chain([admin]).collect(),
            folder: folder.to_owned(),
            detached: false,
        };
        Ok(Program {
            process: Process::spawn(launch)?,
            admin_port,
        })
    }

    /// Waits until `/readyz` says ready; the error has its last reason.
    pub fn wait_ready(&mut self) -> Result<()> {
        let port = self.admin_port;
        let mut reason = String::new();
        let ready = self
            .process
            .wait_until(READY_LIMIT, || match get(port, "/readyz") {
                Ok((code, text)) => {
                    reason = text.trim().to_owned();
                    code == 200
                }
                Err(_) => false,
            });
        ready.with_context(|| format!("not ready: {reason:?}"))
    }

    /// Status code and text of an admin page such as `/metrics`.
    pub fn page(&self, path: &str) -> Result<(u16, String)> {
        get(self.admin_port, path)
    }

    /// Port of the admin pages on 127.0.0.1.
    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// Everything it has written to standard output and standard error.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Sends SIGSTOP: the process pauses, as on a machine that swaps or is migrated.
    pub fn pause(&self) -> Result<()> {
        self.process.signal(Signal::Stop)
    }

    /// Sends SIGCONT after [`Program::pause`].
    pub fn resume(&self) -> Result<()> {
        self.process.signal(Signal::Continue)
    }

    /// Starts it again after its end, with the same arguments.
    pub fn start_again(&mut self) -> Result<()> {
        self.process.start_again()
    }

    /// Sends SIGTERM, and waits for the end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::Terminate)?;
        self.process.wait_for_end(END_LIMIT)
    }

    /// Waits, up to `limit`, until it ends by itself.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.wait_for_end(limit)
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.ended()
    }
}

/// A plain HTTP GET on the loopback interface.
fn get(port: u16, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").context("no HTTP answer")?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((code.context("no HTTP status")?, body.to_owned()))
}
