//! Folders for the data of servers that end with this process, and the removal of those that earlier processes left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::process::is_alive;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The state folder: `.sandbox` in the checkout that this was built from, or in the current folder if that is gone.
pub fn state_folder() -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    checkout.canonicalize().unwrap_or_default().join(".sandbox")
}

/// A new folder `run-<process id>-<n>` under `state`, after removing those of ended processes.
pub(crate) fn folder(state: &Path) -> Result<PathBuf> {
    fs::create_dir_all(state).with_context(|| format!("cannot create {}", state.display()))?;
    remove_stale(state);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = state.join(format!("run-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Best effort: the next process tries again to remove the rest.
fn remove_stale(state: &Path) {
    for entry in fs::read_dir(state).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix("run-")?.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid| pid != std::process::id() && !is_alive(pid)) {
            let _left = fs::remove_dir_all(entry.path());
        }
    }
}
