//! Child processes: start, watch, pause, kill, restart; they end when this process does, however it ends.

mod signal;

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub use self::signal::{Signal, is_alive};

/// The way to start a process; kept for a restart.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Short name for people: `kafka`, `scorer`.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// Command-line arguments.
    pub arguments: Vec<OsString>,
    /// Environment variables, in addition to ours.
    pub environment: Vec<(String, String)>,
    /// Working folder; the process's output goes to `<name>.log` in it.
    pub folder: PathBuf,
    /// True if the process lives on when this one ends.
    pub detached: bool,
}

impl Launch {
    /// The file that receives its output.
    pub fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }
}

/// A child process and, unless it is detached, a watchdog that kills it when this process ends.
#[derive(Debug)]
pub struct Process {
    launch: Launch,
    child: Child,
    watchdog: Option<Child>,
}

impl Process {
    /// Starts the process and returns at once.
    pub fn spawn(launch: Launch) -> Result<Process> {
        let (child, watchdog) = start(&launch)?;
        Ok(Process {
            launch,
            child,
            watchdog,
        })
    }

    /// The operating system's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The working folder.
    pub fn folder(&self) -> &Path {
        &self.launch.folder
    }

    /// Everything it has written so far to standard output and standard error, over all its starts.
    pub fn output(&self) -> String {
        let bytes = fs::read(self.launch.log()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Calls `probe` until it returns true; gives up after `limit`, or as soon as the process has ended.
    pub fn wait_until(&mut self, limit: Duration, mut probe: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !probe() {
            if let Some(status) = self.ended()? {
                let name = &self.launch.name;
                bail!("{name} ended early ({status}): {}", self.last_words());
            }
            if Instant::now() > deadline {
                let name = &self.launch.name;
                bail!("{name} is not there after {limit:?}: {}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .context("cannot look after a child process")
    }

    /// Waits for it to end by itself, for at most `limit`.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                self.dismiss_watchdog();
                return Ok(status);
            }
            if Instant::now() > deadline {
                let name = &self.launch.name;
                bail!("{name} did not end within {limit:?}: {}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        signal.send(self.pid())
    }

    /// Sends SIGKILL, and waits until the process is gone.
    pub fn kill(&mut self) -> Result<()> {
        let name = self.launch.name.clone();
        self.dismiss_watchdog();
        self.child
            .kill()
            .with_context(|| format!("cannot kill {name}"))?;
        self.child
            .wait()
            .with_context(|| format!("cannot wait for {name}"))?;
        Ok(())
    }

    /// Starts the process again after its end, with the same arguments.
    pub fn start_again(&mut self) -> Result<()> {
        (self.child, self.watchdog) = start(&self.launch)?;
        Ok(())
    }

    /// The watchdog must go before its process is reaped: later another process may have the id.
    fn dismiss_watchdog(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            let _gone = watchdog.kill().and_then(|()| watchdog.wait());
        }
    }

    fn last_words(&self) -> String {
        let text = self.output();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join(" | ");
        format!("{last} (all of it in {})", self.launch.log().display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.launch.detached {
            let _gone = self.kill();
        }
    }
}

fn start(launch: &Launch) -> Result<(Child, Option<Child>)> {
    let log = open_log(&launch.log())?;
    let child = Command::new(&launch.program)
        .args(&launch.arguments)
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&launch.folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot share a log file")?)
        .stderr(log)
        // A process group of its own: Ctrl-C in the terminal reaches only us, and we decide what the children do.
        .process_group(0)
        .spawn()
        .with_context(|| {
            format!(
                "cannot start {} ({})",
                launch.name,
                launch.program.display()
            )
        })?;
    let watchdog = if launch.detached {
        None
    } else {
        Some(watch(child.id())?)
    };
    Ok((child, watchdog))
}

fn open_log(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// A shell that waits for the end of its standard input, which only this process holds open, and then kills `pid`.
fn watch(pid: u32) -> Result<Child> {
    Command::new("sh")
        .args(["-c", "read _; kill -9 \"$0\"", &pid.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start sh to watch over a child process")
}
