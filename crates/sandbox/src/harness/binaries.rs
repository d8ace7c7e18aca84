//! The three executables: built from this checkout, installed, or from another build.

use std::env;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

use crate::place::checkout;

const NAMES: [&str; 3] = ["featurizer", "scorer", "collector"];

/// The folder of the executables.
#[derive(Clone, Debug)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Builds them in a checkout, once per process; cargo skips what is fresh, and its progress goes to the terminal. Where
    /// this is installed, those beside it.
    pub fn build() -> Result<&'static Binaries> {
        static BUILT: OnceLock<Result<Binaries, String>> = OnceLock::new();
        BUILT
            .get_or_init(|| build().map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// Uses those in `folder`.
    pub fn at(folder: &Path) -> Result<Binaries> {
        let folder = folder
            .canonicalize()
            .with_context(|| format!("there is no folder {}", folder.display()))?;
        for name in NAMES {
            let path = folder.join(name);
            ensure!(path.is_file(), "there is no executable {}", path.display());
        }
        Ok(Binaries { folder })
    }

    /// The path of an executable, by its name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Those of the checkout, built by cargo; else those that are installed beside this executable.
fn build() -> Result<Binaries> {
    let own = env::current_exe().context("cannot tell where this executable lies")?;
    let beside = own.parent().context("this executable lies in no folder")?;
    let Some(checkout) = checkout() else {
        return Binaries::at(beside);
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = target_folder(&own)?;
    let built = Command::new(cargo)
        .args(["build", "--release", "--workspace", "--bins", "--quiet"])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(checkout)
        .status();
    let status = match built {
        // Without cargo nobody can have changed them.
        Err(error) if error.kind() == ErrorKind::NotFound => return Binaries::at(beside),
        status => status.context("cannot run cargo to build the executables")?,
    };
    if !status.success() {
        bail!("cargo could not build the executables ({status})");
    }
    Binaries::at(&target.join("release"))
}

/// The target folder of this executable, so that nothing is compiled twice.
fn target_folder(own: &Path) -> Result<PathBuf> {
    // target/release/sandbox, or target/release/deps/<test>-<hash>.
    let folder = own.parent().context("this executable lies in no folder")?;
    let profile = if folder.ends_with("deps") {
        folder.parent()
    } else {
        Some(folder)
    };
    let target = profile.and_then(Path::parent);
    Ok(target
        .context("this executable does not lie in a target folder")?
        .to_owned())
}
