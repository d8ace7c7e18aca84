//! The cache of downloads, shared by checkouts; each is filled once, however many processes ask at the same time.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folder of all downloads: `$XDG_CACHE_HOME/tidemill`, else `~/.cache/tidemill`.
///
/// It lies outside the checkout, so that a fresh clone starts as quickly as an old one.
pub(crate) fn folder() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(given) => PathBuf::from(given),
        None => env::home_dir()
            .context("neither XDG_CACHE_HOME nor a home folder is set")?
            .join(".cache"),
    };
    Ok(base.join("tidemill"))
}

/// Returns the cached folder `name`; if it is missing, calls `fill` with an empty folder first.
///
/// A file lock keeps several processes from filling it at once. The rename at the end makes it appear whole or not at
/// all, so a process killed half-way leaves nothing that looks complete.
pub(crate) fn provide(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let root = folder()?;
    let complete = root.join(name);
    if complete.is_dir() {
        return Ok(complete);
    }
    fs::create_dir_all(&root)
        .with_context(|| format!("cannot create the cache folder {}", root.display()))?;
    let lock_path = root.join(format!("{name}.lock"));
    let lock = File::create(&lock_path)
        .with_context(|| format!("cannot create {}", lock_path.display()))?;
    lock.lock()
        .with_context(|| format!("cannot lock {}", lock_path.display()))?;
    if complete.is_dir() {
        return Ok(complete);
    }
    let staging = root.join(format!("{name}.staging"));
    if staging.exists() {
        fs::remove_dir_all(&staging)
            .with_context(|| format!("cannot clear {}", staging.display()))?;
    }
    fs::create_dir(&staging).with_context(|| format!("cannot create {}", staging.display()))?;
    fill(&staging)?;
    fs::rename(&staging, &complete).with_context(|| {
        format!(
            "cannot move {} to {}",
            staging.display(),
            complete.display()
        )
    })?;
    Ok(complete)
}
