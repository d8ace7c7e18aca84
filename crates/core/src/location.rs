//! Places of files: a local folder, or a bucket of an S3-compatible store.

use object_store::RetryConfig;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::prefix::PrefixStore;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Time limit for repeating one request before its error is reported; the callers retry for as long as it takes.
const REPEAT: Duration = Duration::from_secs(10);

/// A place of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A local folder.
    Folder(PathBuf),
    /// `s3://bucket/prefix`.
    Bucket(Url),
}

impl Location {
    /// Parses a folder's path, or `s3://bucket/prefix`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            None if text.is_empty() => Err("give a folder or s3://bucket/prefix".into()),
            // A misspelt URL, taken for a folder, would be written to for days before anyone noticed.
            None if has_scheme(text) => Err(format!(
                "use s3://bucket/prefix with two slashes, or ./{text} for a folder of this name"
            )),
            None => Ok(Self::Folder(text.into())),
            Some(("s3", rest)) if !rest.is_empty() && !rest.starts_with('/') => Url::parse(text)
                .map(Self::Bucket)
                .map_err(|error| error.to_string()),
            Some(_) => Err("use a folder or s3://bucket/prefix".into()),
        }
    }
}

/// True if a text begins as URLs do: `s3:`, `file:`; one letter is a drive.
fn has_scheme(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Bucket(url) => url.fmt(f),
        }
    }
}

/// The objects below the URL of a bucket. `builder` has credentials, region and endpoint, for example from the usual
/// `AWS_...` variables by [`AmazonS3Builder::from_env`].
pub fn bucket(url: &Url, builder: AmazonS3Builder) -> anyhow::Result<PrefixStore<AmazonS3>> {
    let retry = RetryConfig {
        max_retries: 5,
        retry_timeout: REPEAT,
        ..RetryConfig::default()
    };
    // We delete one file at a time, which every provider supports.
    let bucket = builder
        .with_url(url.as_str())
        .with_retry(retry)
        .with_disable_bulk_delete(true)
        .build()?;
    Ok(PrefixStore::new(bucket, url.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_urls_are_no_folders() {
        for bad in [
            "",
            "s3:/bucket/x",
            "s3:bucket",
            "S3:/bucket",
            "file:/data",
            "gs://bucket",
            "s3:///x",
            "s3://",
        ] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
        for folder in [
            "data",
            "./s3:/bucket",
            "/data/2026-01-01T10:00",
            "a b:c",
            "C:data",
        ] {
            assert_eq!(Location::parse(folder), Ok(Location::Folder(folder.into())));
        }
    }
}
