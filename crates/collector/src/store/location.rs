//! Where a data set can lie, and how such a place is opened.

use anyhow::anyhow;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, RetryConfig};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// How long one request may be repeated before its error is told; the callers try again for as long as it takes.
const REPEAT: Duration = Duration::from_secs(10);

/// Where the data set is to lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder.
    Folder(PathBuf),
    /// `s3://bucket/prefix`.
    Bucket(Url),
}

impl Location {
    /// A folder's path, or `s3://bucket/prefix`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            None if text.is_empty() => Err("give a folder or s3://bucket/prefix".into()),
            None => Ok(Self::Folder(text.into())),
            Some(("s3", rest)) if !rest.is_empty() && !rest.starts_with('/') => Url::parse(text)
                .map(Self::Bucket)
                .map_err(|error| error.to_string()),
            Some(_) => Err("use a folder or s3://bucket/prefix".into()),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Bucket(url) => url.fmt(f),
        }
    }
}

/// Opens a folder, every file in it synced before it counts as written.
pub(super) fn open_folder(folder: &Path, create: bool) -> anyhow::Result<Arc<dyn ObjectStore>> {
    if create {
        std::fs::create_dir_all(folder)?;
    }
    if !folder.is_dir() {
        return Err(anyhow!("there is no such folder"));
    }
    let files = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
    Ok(Arc::new(files))
}

/// Opens a bucket under the URL's prefix.
pub(super) fn open_bucket(
    url: &Url,
    builder: AmazonS3Builder,
) -> anyhow::Result<Arc<dyn ObjectStore>> {
    let retry = RetryConfig {
        max_retries: 5,
        retry_timeout: REPEAT,
        ..RetryConfig::default()
    };
    // We delete one file at a time, which every provider can.
    let bucket = builder
        .with_url(url.as_str())
        .with_retry(retry)
        .with_disable_bulk_delete(true)
        .build()?;
    Ok(Arc::new(PrefixStore::new(bucket, url.path())))
}
