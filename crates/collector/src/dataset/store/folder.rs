//! Creates a file in a local folder wholly or not at all, durably, and never over another.
//!
//! The file is written and synced before it has a name, so that a process that is killed leaves nothing behind, and
//! no two processes can meet in a name that only one of them should have. File systems without nameless files (NFS)
//! get one in a staging folder, whose name is random.

use crate::dataset::names;
use std::fs::{self, File};
use std::io::{Error, ErrorKind, Result, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A staging file this old belongs to no living process.
const STALE: Duration = Duration::from_secs(3600);

/// The outcome of creating a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Created {
    /// It is there now.
    Now,
    /// There was a file of its name before.
    Before,
}

/// Creates `path` below `folder`, unless there is a file of this name already.
pub(super) fn create(folder: &Path, path: &str, bytes: &[u8]) -> Result<Created> {
    let target = folder.join(path);
    let parent = target.parent().unwrap_or(folder);
    if parent != folder {
        subfolder(parent)?;
    }
    let made = match nameless(parent)? {
        Some(file) => write(&file, bytes).and_then(|()| link(&file, &target)),
        None => create_staged(folder, &target, bytes),
    };
    let created = match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Created::Before,
        made => made.map(|()| Created::Now)?,
    };
    // Also where it was there before: what follows it must not outlive it.
    File::open(parent)?.sync_all()?;
    Ok(created)
}

/// Writes a file that never gets a name.
pub(super) fn prove(folder: &Path) -> Result<()> {
    match nameless(folder)? {
        Some(file) => write(&file, b"tidemill"),
        None => write(&tempfile::tempfile_in(folder)?, b"tidemill"),
    }
}

/// Deletes what processes that were killed left in the staging folder.
pub(super) fn sweep(folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder.join(names::STAGING)) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        // A file that vanished meanwhile was another's to delete.
        let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) else {
            continue;
        };
        let age = SystemTime::now().duration_since(modified);
        if age.is_ok_and(|age| age > STALE) {
            tracing::info!(file = ?entry.file_name(), "deleting a stale staging file");
            fs::remove_file(entry.path()).ok();
        }
    }
    Ok(())
}

/// Makes a folder within the data set. The data set's own is not made again: where it is gone, its files are elsewhere.
fn subfolder(folder: &Path) -> Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn write(mut file: &File, bytes: &[u8]) -> Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// A file without a name; `None` where the file system has no such.
#[cfg(target_os = "linux")]
fn nameless(folder: &Path) -> Result<Option<File>> {
    use rustix::fs::{Mode, OFlags, open};
    use rustix::io::Errno;
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match open(folder, flags, Mode::from_raw_mode(0o666)) {
        Ok(file) => Ok(Some(file.into())),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Gives a nameless file its name.
#[cfg(target_os = "linux")]
fn link(file: &File, target: &Path) -> Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    use std::os::fd::AsRawFd;
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, own, CWD, target, AtFlags::SYMLINK_FOLLOW).map_err(Error::from)
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: &Path) -> Result<Option<File>> {
    Ok(None)
}

#[cfg(not(target_os = "linux"))]
fn link(_: &File, _: &Path) -> Result<()> {
    Err(Error::from(ErrorKind::Unsupported))
}

fn create_staged(folder: &Path, target: &Path, bytes: &[u8]) -> Result<()> {
    let staging = folder.join(names::STAGING);
    subfolder(&staging)?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(&staging)?;
    write(file.as_file(), bytes)?;
    file.persist_noclobber(target)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_proved_writable_without_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        prove(folder.path()).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        prove(&folder.path().join("missing")).unwrap_err();
        #[cfg(target_os = "linux")]
        prove(Path::new("/proc")).unwrap_err();
    }

    #[test]
    fn a_folder_that_was_taken_away_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        for path in ["a", "_rejected/a"] {
            let error = create(&gone, path, b"ours").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{path}");
        }
        let error = create_staged(&gone, &gone.join("a"), b"ours").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(!gone.exists());
    }

    #[test]
    fn a_name_is_given_once_with_and_without_nameless_files() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("staged");
        let made = create(folder.path(), "_rejected/a", b"ours").unwrap();
        let again = create(folder.path(), "_rejected/a", b"theirs").unwrap();
        assert_eq!((made, again), (Created::Now, Created::Before));
        create_staged(folder.path(), &target, b"ours").unwrap();
        let error = create_staged(folder.path(), &target, b"theirs").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        for path in [folder.path().join("_rejected/a"), target] {
            assert_eq!(fs::read(path).unwrap(), b"ours");
        }
        let staging = folder.path().join(names::STAGING);
        assert_eq!(fs::read_dir(&staging).unwrap().count(), 0);

        let (old, young) = (staging.join("old"), staging.join("young"));
        fs::write(&young, "").unwrap();
        let modified = SystemTime::now() - 2 * STALE;
        File::create(&old).unwrap().set_modified(modified).unwrap();
        sweep(folder.path()).unwrap();
        assert!(young.exists() && !old.exists());
    }
}
