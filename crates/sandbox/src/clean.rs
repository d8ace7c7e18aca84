//! `sandbox clean`: removes what the sandbox keeps on this machine, and says how much that is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tidemill_core::tell_line;

use crate::place::{checkout, state_folder};
use crate::stack::{self, scratch};

/// The flags of a removal.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

/// Removes downloads, data of servers, and in a checkout what its recipes have installed there; what cargo has built
/// stays.
pub fn command(flags: &Flags) -> Result<()> {
    if stack::is_up()? {
        bail!("a stack is up, whose data would go: end it first, with sandbox stack down");
    }
    if let Some(process) = scratch::at_work(&state_folder()) {
        bail!("process {process} is at work with servers of its own: end it first");
    }
    let mut total = 0;
    for place in places()? {
        let bytes = size(&place)?;
        if !place.exists() {
            continue;
        }
        total += bytes;
        tell_line!("{:>8.1} MB  {}", bytes as f64 / 1e6, place.display())?;
        if !flags.dry_run {
            fs::remove_dir_all(&place)
                .with_context(|| format!("cannot remove {}", place.display()))?;
        }
    }
    let what = match flags.dry_run {
        true => "would be removed: --dry-run",
        false => "removed",
    };
    tell_line!("{:>8.1} MB  {what}", total as f64 / 1e6)
}

fn places() -> Result<Vec<PathBuf>> {
    let mut places = vec![stack::downloads()?, state_folder()];
    if let Some(checkout) = checkout() {
        let own = ["venv", "tools", "training", "models", "dist"];
        places.extend(own.map(|name| checkout.join("target").join(name)));
    }
    Ok(places)
}

/// The bytes of all files below a folder; 0 where there is none.
fn size(place: &Path) -> Result<u64> {
    let mut bytes = 0;
    let Ok(entries) = fs::read_dir(place) else {
        return Ok(0);
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        bytes += match kind.is_dir() {
            true => size(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_all_files() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        fs::write(folder.path().join("one"), [0; 10]).unwrap();
        fs::write(below.join("two"), [0; 7]).unwrap();
        assert_eq!(size(folder.path()).unwrap(), 17);
        assert_eq!(size(&below.join("none")).unwrap(), 0);
    }
}
