//! The places where a data set can lie, and how they are opened.

use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use std::path::Path;
use std::sync::Arc;
use tidemill_core::exit::Failure;
use tidemill_core::location::{Bucket, bucket};

pub use tidemill_core::location::Location;

/// Opens a folder, every file in it synced before it counts as written.
pub(super) fn open_folder(folder: &Path, create: bool) -> anyhow::Result<Arc<dyn ObjectStore>> {
    if create {
        std::fs::create_dir_all(folder)?;
    }
    if !folder.is_dir() {
        return Err(Failure::usage("there is no such folder"));
    }
    let files = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
    Ok(Arc::new(files))
}

/// Opens a bucket under its prefix.
pub(super) fn open_bucket(
    place: &Bucket,
    builder: AmazonS3Builder,
) -> anyhow::Result<Arc<dyn ObjectStore>> {
    Ok(Arc::new(bucket(place, builder)?))
}
