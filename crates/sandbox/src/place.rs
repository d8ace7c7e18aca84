//! Where this program lies: in a checkout, whose programs are built on demand, or installed beside the others.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The checkout that this executable was built in; `None` where it is installed.
///
/// Found at run time: no path of the machine that built it is compiled in.
pub(crate) fn checkout() -> Option<PathBuf> {
    let own = env::current_exe().ok()?;
    // Cargo tells tests and `cargo run` where their package lies, wherever the target folder is.
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let places = package.iter().map(PathBuf::as_path).chain([own.as_path()]);
    places
        .flat_map(Path::ancestors)
        .find(|folder| is_checkout(folder))
        .map(Path::to_owned)
}

fn is_checkout(folder: &Path) -> bool {
    ["Cargo.lock", "crates/sandbox/Cargo.toml"]
        .iter()
        .all(|file| folder.join(file).is_file())
}

/// The folder with `models/`: the checkout, or that of the installed `bin/`.
pub(crate) fn home() -> Result<PathBuf> {
    match checkout() {
        Some(checkout) => Ok(checkout),
        None => installed(),
    }
}

/// The folder above the one that this executable lies in.
fn installed() -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where this executable lies")?;
    let home = own.parent().and_then(Path::parent);
    Ok(home
        .context("this executable lies in no folder")?
        .to_owned())
}

/// The state folder: `.sandbox` in the checkout; of an installed one `$XDG_STATE_HOME/tidemill`, else
/// `~/.local/state/tidemill`.
pub fn state_folder() -> PathBuf {
    if let Some(checkout) = checkout() {
        return checkout.join(".sandbox");
    }
    let given = env::var_os("XDG_STATE_HOME").filter(|value| !value.is_empty());
    let usual = || env::home_dir().map(|home| home.join(".local/state"));
    let base = given.map(PathBuf::from).or_else(usual);
    base.unwrap_or_default().join("tidemill")
}
