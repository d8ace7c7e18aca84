//! Folders for the data of servers that end with this process, and the removal of those that earlier processes left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::process::is_alive;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A new folder `run-<process id>-<n>` under `state`, after removing those of ended processes.
pub(crate) fn folder(state: &Path) -> Result<PathBuf> {
    fs::create_dir_all(state).with_context(|| format!("cannot create {}", state.display()))?;
    remove_stale(state);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = state.join(format!("run-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// A process that is at work in one of these folders.
pub(crate) fn at_work(state: &Path) -> Option<u32> {
    let owners = folders(state).map(|(_, owner)| owner);
    let mut others = owners.filter(|pid| *pid != std::process::id());
    others.find(|pid| is_alive(*pid))
}

/// Best effort: the next process tries again to remove the rest.
fn remove_stale(state: &Path) {
    for (path, owner) in folders(state) {
        if owner != std::process::id() && !is_alive(owner) {
            let _left = fs::remove_dir_all(path);
        }
    }
}

/// The folders below `state`, each with the process that made it.
fn folders(state: &Path) -> impl Iterator<Item = (PathBuf, u32)> {
    let entries = fs::read_dir(state).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let name = entry.file_name();
        let owner = name.to_str()?.strip_prefix("run-")?.split('-').next()?;
        Some((entry.path(), owner.parse().ok()?))
    })
}
