//! Places of files: a local folder, or a bucket of an S3-compatible store.

use object_store::RetryConfig;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Time limit for repeating one request before its error is reported; the callers retry for as long as it takes.
const REPEAT: Duration = Duration::from_secs(10);

/// A place of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A local folder.
    Folder(PathBuf),
    /// `s3://bucket/prefix`.
    Bucket(Bucket),
}

/// The objects of a bucket whose keys begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    name: String,
    /// As it stands in the keys, without a slash at either end: a space, `#`, `?` or `%20` means itself.
    prefix: Path,
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
            Some(("s3", rest)) if !rest.is_empty() && !rest.starts_with('/') => {
                let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                Ok(Self::Bucket(Bucket {
                    name: bucket_name(name)?,
                    prefix: Path::parse(prefix).map_err(|error| error.to_string())?,
                }))
            }
            Some(_) => Err("use a folder or s3://bucket/prefix".into()),
        }
    }
}

/// A bucket's name, if it can be one: it becomes part of a host or a path.
fn bucket_name(name: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    match name.bytes().all(good) {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "{name:?} is no name of a bucket: use letters, digits, dots and hyphens"
        )),
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
            Self::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.name, self.prefix)
    }
}

/// The objects of a bucket below its prefix. `builder` brings credentials, region and endpoint, as
/// [`AmazonS3Builder::from_env`] takes them from the usual `AWS_...` variables.
pub fn bucket(place: &Bucket, builder: AmazonS3Builder) -> anyhow::Result<PrefixStore<AmazonS3>> {
    let retry = RetryConfig {
        max_retries: 5,
        retry_timeout: REPEAT,
        ..RetryConfig::default()
    };
    // We delete one file at a time, which every provider supports.
    let bucket = builder
        .with_bucket_name(&place.name)
        .with_retry(retry)
        .with_disable_bulk_delete(true)
        .build()?;
    Ok(PrefixStore::new(bucket, place.prefix.clone()))
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
            "s3://a b/x",
            "s3://a#b",
            "s3://bucket/a/../b",
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
