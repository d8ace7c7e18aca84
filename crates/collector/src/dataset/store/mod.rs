//! The store of a data set, a local folder or a bucket: lists and reads files, and creates them only where none is.

mod folder;
mod location;
mod newest;

pub use location::Location;

use crate::dataset::names;
use anyhow::Context;
use bytes::Bytes;
use folder::Created;
use futures_util::TryStreamExt;
use location::{open_bucket, open_folder};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tidemill_core::exit::Failure;

/// The files of one data set.
#[derive(Clone)]
pub(crate) struct Store {
    files: Arc<dyn ObjectStore>,
    /// The folder of a local data set.
    folder: Option<PathBuf>,
    location: Arc<str>,
}

/// The outcome of creating a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Creation {
    /// It is there now, durably.
    Created,
    /// Another was there before, with these bytes.
    Exists(Bytes),
}

/// A file of the data set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listed {
    /// Its name, or its path where all files are listed.
    pub(crate) name: String,
    /// Its size in bytes.
    pub(crate) size: u64,
}

impl Store {
    /// Opens a data set; a folder that is missing is made where `create` says so. Credentials, region and endpoint
    /// of a bucket are those of the usual `AWS_...` environment variables.
    pub(crate) fn open(location: &Location, create: bool) -> anyhow::Result<Self> {
        let opened = match location {
            Location::Folder(folder) => open_folder(folder, create),
            Location::Bucket(place) => open_bucket(place, AmazonS3Builder::from_env()),
        };
        Self::over(location, opened)
    }

    fn over(
        location: &Location,
        opened: anyhow::Result<Arc<dyn ObjectStore>>,
    ) -> anyhow::Result<Self> {
        let files = opened.with_context(|| format!("opening {location}"))?;
        let folder = match location {
            Location::Folder(folder) => Some(folder.clone()),
            Location::Bucket(_) => None,
        };
        Ok(Self {
            files,
            folder,
            location: location.to_string().into(),
        })
    }

    /// Creates a file, durably, where there is none of its name: never a part of one, never over another.
    pub(crate) async fn create(&self, path: &str, bytes: Bytes) -> anyhow::Result<Creation> {
        let created = match &self.folder {
            Some(folder) => {
                let (folder, path) = (folder.clone(), path.to_owned());
                let work = move || folder::create(&folder, &path, &bytes);
                tokio::task::spawn_blocking(work).await?.map_err(Into::into)
            }
            None => {
                let (target, payload) = (Path::from(path), PutPayload::from_bytes(bytes));
                let put = self
                    .files
                    .put_opts(&target, payload, PutMode::Create.into());
                match put.await {
                    Ok(_) => Ok(Created::Now),
                    Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                        Ok(Created::Before)
                    }
                    Err(error) => Err(anyhow::Error::from(error)),
                }
            }
        };
        match created.with_context(|| format!("creating {path} in {self}"))? {
            Created::Now => Ok(Creation::Created),
            Created::Before => Ok(Creation::Exists(self.read(path).await?)),
        }
    }

    /// The bytes of a file.
    pub(crate) async fn read(&self, path: &str) -> anyhow::Result<Bytes> {
        let read = async { self.files.get(&Path::from(path)).await?.bytes().await };
        read.await
            .with_context(|| format!("reading {path} in {self}"))
    }

    /// The bytes of a file, `None` where there is none.
    pub(crate) async fn find(&self, path: &str) -> anyhow::Result<Option<Bytes>> {
        match self.files.get(&Path::from(path)).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {path} in {self}")),
        }
    }

    /// Makes sure that a file of the data set is there still. Where its disk is not mounted any more, or its folder was
    /// moved away, another folder may be at its place.
    ///
    /// Errors: it is gone, as an [`io::Error`]: it may come back.
    pub(crate) async fn require(&self, path: &str) -> anyhow::Result<()> {
        match self.files.head(&Path::from(path)).await {
            Ok(_) => Ok(()),
            Err(Error::NotFound { .. }) => {
                let gone = format!(
                    "{path} is gone from {self}: mount its disk, or put the folder or the file back; the collector waits, \
                     and writes to no other data set that is at its place"
                );
                Err(io::Error::new(io::ErrorKind::NotFound, gone).into())
            }
            Err(error) => Err(error).with_context(|| format!("looking for {path} in {self}")),
        }
    }

    /// The last bytes of a file, at most `count`, and the size of the whole.
    pub(crate) async fn tail(&self, path: &str, count: u64) -> anyhow::Result<(Bytes, u64)> {
        let options = GetOptions {
            range: Some(GetRange::Suffix(count)),
            ..GetOptions::default()
        };
        let read = async {
            let found = self.files.get_opts(&Path::from(path), options).await?;
            let size = found.meta.size;
            Ok::<_, Error>((found.bytes().await?, size))
        };
        read.await
            .with_context(|| format!("reading the end of {path} in {self}"))
    }

    /// The files in the data set itself, or in a folder of it; in the order of their names.
    pub(crate) async fn list(&self, folder: Option<&str>) -> anyhow::Result<Vec<Listed>> {
        let prefix = folder.map(Path::from);
        let listed = self.files.list_with_delimiter(prefix.as_ref()).await;
        let listed = match listed {
            Err(Error::NotFound { .. }) => return Ok(Vec::new()),
            listed => listed.map_err(|error| self.unlisted(error))?,
        };
        let files = listed.objects.into_iter().filter_map(|object| {
            let name = object.location.filename()?.to_owned();
            let size = object.size;
            Some(Listed { name, size })
        });
        let mut files: Vec<Listed> = files.collect();
        files.sort_unstable();
        Ok(files)
    }

    /// All files of the data set and of the folders in it, by their paths and in the order of these.
    pub(crate) async fn list_all(&self) -> anyhow::Result<Vec<Listed>> {
        let listed = self.files.list(None).map_ok(|object| Listed {
            name: object.location.to_string(),
            size: object.size,
        });
        let listed = listed.try_collect::<Vec<Listed>>().await;
        let mut files = listed.map_err(|error| self.unlisted(error))?;
        files.sort_unstable();
        Ok(files)
    }

    /// The error of a listing. A name that cannot be read stays until somebody changes it.
    fn unlisted(&self, error: Error) -> anyhow::Error {
        match error {
            Error::InvalidPath { source } => Failure::usage(format!(
                "listing {self}: a file has a name that cannot be read: {source}; rename it, or move it elsewhere"
            )),
            error => anyhow::Error::from(error).context(format!("listing {self}")),
        }
    }

    /// Deletes a file that no reader counts.
    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        match self.files.delete(&Path::from(path)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("deleting {path} in {self}")),
        }
    }

    /// Makes sure that files can be written. A bucket is asked to create the schema once more, which changes nothing;
    /// while there is none, freezing it shows the same.
    pub(crate) async fn prove_writable(&self) -> anyhow::Result<()> {
        if let Some(folder) = &self.folder {
            return folder::prove(folder).with_context(|| format!("writing to {self}"));
        }
        if let Some(schema) = self.find(names::SCHEMA).await? {
            self.create(names::SCHEMA, schema).await?;
        }
        Ok(())
    }

    /// Deletes what processes that were killed left in the staging folder.
    pub(crate) fn sweep_staging(&self) -> anyhow::Result<()> {
        match &self.folder {
            Some(folder) => Ok(folder::sweep(folder)?),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.location)
    }
}

#[cfg(test)]
pub(crate) mod stub;
#[cfg(test)]
pub(crate) mod tests;
