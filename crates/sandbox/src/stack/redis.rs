//! A Redis server of our own: from PATH, from the package registry, or from the system's packages.

use std::fs::{self, File};
use std::io;
use std::net::TcpStream;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::server::Server;
use super::{cache, jars, ports};
use crate::process::Launch;
use crate::progress;

/// A running `redis-server` with an append-only file, so that it keeps its data over a restart.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    origin: String,
}

impl Redis {
    /// Starts one with its data in `folder`, on `port` if that is free, and waits until it answers.
    pub(crate) fn start(folder: &Path, port: Option<u16>, detached: bool) -> Result<Redis> {
        Redis::start_program(program()?, folder, port, detached, &[])
    }

    /// Starts one for a test with further arguments; of two with one name the later counts.
    pub(super) fn start_with(folder: &Path, more: &[&str]) -> Result<Redis> {
        Redis::start_program(program()?, folder, None, false, more)
    }

    /// The same with a server of another origin.
    pub(super) fn start_program(
        (program, origin): (PathBuf, String),
        folder: &Path,
        port: Option<u16>,
        detached: bool,
        more: &[&str],
    ) -> Result<Redis> {
        let port = port.map_or_else(ports::free, ports::free_or)?;
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let port_text = port.to_string();
        let arguments = [
            ["--port", &port_text],
            ["--bind", "127.0.0.1"],
            ["--dir", "."],
            ["--appendonly", "yes"],
            ["--appendfsync", "everysec"],
            // Each rewrite forks Redis, which then copies every page of memory that it writes: not every few seconds.
            ["--auto-aof-rewrite-min-size", "1gb"],
            ["--save", ""],
            // A feature store must refuse writes rather than forget users.
            ["--maxmemory-policy", "noeviction"],
        ];
        let launch = Launch {
            name: "redis".to_owned(),
            program,
            arguments: arguments
                .iter()
                .flatten()
                .chain(more)
                .map(Into::into)
                .collect(),
            environment: Vec::new(),
            folder: folder.to_owned(),
            detached,
        };
        let mut server = Server::spawn(launch, port, |port| answers(&address(port)))?;
        server.wait()?;
        Ok(Redis { server, origin })
    }

    /// Starts one with these arguments and waits until it listens; `None` if the server was built without TLS.
    pub(super) fn start_secure(
        folder: &Path,
        port: u16,
        arguments: Vec<String>,
    ) -> Result<Option<Redis>> {
        let (program, origin) = program()?;
        let launch = Launch {
            name: format!("redis-{port}"),
            program,
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            folder: folder.to_owned(),
            detached: false,
        };
        let listens = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
        let mut server = Server::spawn(launch, port, listens)?;
        match server.wait() {
            Err(_) if server.process.output().contains("Bad directive") => Ok(None),
            outcome => outcome.map(|()| Some(Redis { server, origin })),
        }
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        address(self.port())
    }

    /// The origin of the program, for people.
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

impl Deref for Redis {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Redis {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

fn address(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

/// True if a Redis at `url` answers a PING within a second.
pub(super) fn answers(url: &str) -> bool {
    let ping = || -> redis::RedisResult<()> {
        let client = redis::Client::open(url)?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(1))?;
        connection.set_read_timeout(Some(Duration::from_secs(1)))?;
        redis::cmd("PING").query(&mut connection)
    };
    ping().is_ok()
}

fn program() -> Result<(PathBuf, String)> {
    let on_path = PathBuf::from("redis-server");
    if runs(&on_path) {
        return Ok((on_path, "redis-server on PATH".to_owned()));
    }
    let why_not = match embedded() {
        Ok(program) if runs(&program) => {
            return Ok((
                program,
                "redis-server out of the package registry".to_owned(),
            ));
        }
        Ok(_) => "the registry's redis-server does not run on this system".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    install().with_context(|| {
        format!(
            "found no redis-server ({why_not}); install one, or point REDIS_URL to a running Redis"
        )
    })?;
    Ok((
        on_path,
        "redis-server from the system's packages, just installed".to_owned(),
    ))
}

fn runs(program: &Path) -> bool {
    let status = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Unpacks the server for this system from the jar that contains it.
fn embedded() -> Result<PathBuf> {
    let wanted = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "linux-amd64",
        ("linux", "aarch64") => "linux-arm64",
        ("macos", "x86_64") => "darwin-amd64",
        ("macos", "aarch64") => "darwin-arm64",
        (system, machine) => {
            bail!("the package registry has no redis-server for {system} on {machine}")
        }
    };
    jars::available().map_err(anyhow::Error::msg)?;
    let jars = jars::folder()?;
    let folder = cache::provide("redis-6.2", |staging| {
        let is_wanted = |name: &str| name.starts_with("redis-server") && name.ends_with(wanted);
        unpack(
            &jars,
            "embedded-redis",
            is_wanted,
            &staging.join("redis-server"),
        )
    })?;
    Ok(folder.join("redis-server"))
}

/// Unpacks one program from the archive in `folder` whose name begins with `archive`.
pub(super) fn unpack(
    folder: &Path,
    archive: &str,
    is_wanted: impl Fn(&str) -> bool,
    target: &Path,
) -> Result<()> {
    let path = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(archive))
        })
        .with_context(|| format!("no {archive} in {}", folder.display()))?;
    let mut packed = zip::ZipArchive::new(File::open(&path)?)?;
    let name = packed
        .file_names()
        .filter_map(Result::ok)
        .find(|name| is_wanted(name))
        .with_context(|| format!("no server for this system in {}", path.display()))?
        .into_owned();
    let mut packed = packed.by_name(&name)?;
    let mut unpacked = File::create(target)?;
    io::copy(&mut packed, &mut unpacked)?;
    fs::set_permissions(target, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Runs `apt-get install redis-server`, if that exists and we may.
fn install() -> Result<()> {
    let spinner = progress::spinner("installing redis-server with apt-get");
    let run = |arguments: &[&str]| -> Result<()> {
        let output = Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
            .context("cannot run apt-get")?;
        if !output.status.success() {
            bail!(
                "apt-get {} failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    };
    // The package lists may be missing or old: try without an update first, since that takes a while.
    let install = [
        "install",
        "--yes",
        "--no-install-recommends",
        "redis-server",
    ];
    run(&install).or_else(|_| run(&["update"]).and_then(|()| run(&install)))?;
    spinner.done("installed redis-server");
    Ok(())
}
