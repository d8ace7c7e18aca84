//! Fetches the objects that claims stand for, and proves that they are what was claimed.

use super::reference::{Reference, is_claim};
use super::{Claims, Content, Unavailable};
use crate::location::{Location, bucket};
use crate::metric::stage;
use crate::record::{Reason, Reject};
use anyhow::Context;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};
use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// How long one object may take: less than the time after which the group gives a silent worker's partitions away.
const LIMIT: Duration = Duration::from_secs(20);

/// Resolves the claims of a process; cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    store: Option<Arc<dyn ObjectStore>>,
    /// The folder of a local store.
    folder: Option<PathBuf>,
    max_bytes: u64,
    runtime: Handle,
    shutdown: CancellationToken,
}

/// Why an object was not had.
enum Miss {
    /// It never will be.
    Reject(Reject),
    /// It may be later.
    Later(String),
}

impl Resolver {
    /// A resolver on the present runtime; `shutdown` ends waiting for a store that does not answer.
    pub fn open(claims: &Claims, shutdown: &CancellationToken) -> anyhow::Result<Self> {
        let (store, folder): (Option<Arc<dyn ObjectStore>>, _) = match &claims.location {
            None => (None, None),
            Some(Location::Folder(folder)) => {
                let files = LocalFileSystem::new_with_prefix(folder);
                let files = files.with_context(|| format!("--claims {}", folder.display()))?;
                (Some(Arc::new(files)), Some(folder.clone()))
            }
            Some(Location::Bucket(place)) => {
                let objects = bucket(place, AmazonS3Builder::from_env());
                let objects = objects.with_context(|| format!("--claims {place}"))?;
                (Some(Arc::new(objects)), None)
            }
        };
        Ok(Self {
            store,
            folder,
            max_bytes: claims.max_bytes,
            runtime: Handle::current(),
            shutdown: shutdown.clone(),
        })
    }

    /// What is to be decoded for a value; blocks its thread while it fetches, at most 20 s.
    #[inline]
    pub fn resolve(&self, value: Option<&[u8]>) -> Result<Content, Unavailable> {
        match value {
            Some(bytes) if is_claim(value) => self.runtime.block_on(self.object(bytes)),
            _ => Ok(Content::Own),
        }
    }

    /// Begins to fetch the object that a value stands for, and returns where the outcome arrives.
    pub(super) fn begin(&self, value: Vec<u8>) -> Receiver<Result<Content, Unavailable>> {
        let (sender, outcome) = channel();
        let resolver = self.clone();
        self.runtime.spawn(async move {
            // Nobody listens any more when the partition is gone.
            sender.send(resolver.object(&value).await).ok();
        });
        outcome
    }

    /// As [`Resolver::resolve`], for tasks.
    pub async fn fetch(&self, value: Option<&[u8]>) -> Result<Content, Unavailable> {
        match value {
            Some(bytes) if is_claim(value) => self.object(bytes).await,
            _ => Ok(Content::Own),
        }
    }

    async fn object(&self, value: &[u8]) -> Result<Content, Unavailable> {
        let started = Instant::now();
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(LIMIT, self.bytes(value)) => {
                outcome.unwrap_or_else(|_| Err(Miss::Later(format!("no object within {LIMIT:?}"))))
            }
            () = self.shutdown.cancelled() => Err(Miss::Later("stopping".into())),
        };
        let took = started.elapsed();
        let (result, found) = match outcome {
            Ok(bytes) => ("resolved", Ok(Content::Object(bytes))),
            Err(Miss::Reject(reject)) => ("unusable", Ok(Content::Unusable(reject))),
            Err(Miss::Later(error)) => ("unavailable", Err(Unavailable { error, took })),
        };
        metrics::counter!("tidemill_claims_total", "result" => result).increment(1);
        stage("claim", took);
        found
    }

    async fn bytes(&self, value: &[u8]) -> Result<Vec<u8>, Miss> {
        let reject = |reason, error: String| Miss::Reject(Reject::new(reason, error));
        let claim = Reference::read(value).map_err(Miss::Reject)?;
        let Some(store) = &self.store else {
            let error = "the value is a claim, but no --claims says where its object lies";
            return Err(reject(Reason::ClaimNotConfigured, error.into()));
        };
        let Reference {
            path,
            length,
            sha256,
        } = claim;
        if length > self.max_bytes {
            let limit = self.max_bytes >> 20;
            let error = format!("{path} has {length} bytes, more than --max-claim-mb {limit}");
            return Err(reject(Reason::ClaimTooLarge, error));
        }
        let found = match store.get(&path).await {
            Ok(found) => found,
            Err(error) => return Err(self.miss(&path, error)),
        };
        // Before anything is read, so that no object can take more memory than it claims.
        let size = found.meta.size;
        if size != length {
            let error = format!("{path} has {size} bytes, its claim says {length}");
            return Err(reject(Reason::ClaimTampered, error));
        }
        let bytes = found
            .bytes()
            .await
            .map_err(|error| self.miss(&path, error))?;
        if *Sha256::digest(&bytes) != sha256 {
            let error = format!("{path} has another SHA-256 than its claim");
            return Err(reject(Reason::ClaimTampered, error));
        }
        if is_claim(Some(&bytes)) {
            let error = format!("{path} is a claim itself");
            return Err(reject(Reason::ClaimInvalid, error));
        }
        Ok(bytes.into())
    }

    /// Tells a missing object from a store that is away.
    fn miss(&self, path: &object_store::path::Path, error: Error) -> Miss {
        let missing = match &error {
            // A folder that is not mounted, or a bucket that is not there, says nothing about the object.
            Error::NotFound { source, .. } => match &self.folder {
                Some(folder) => folder.is_dir(),
                None => !source.to_string().contains("NoSuchBucket"),
            },
            Error::InvalidPath { .. } => true,
            other => self.folder.is_some() && no_such_name(other),
        };
        if missing {
            let error = format!("there is no object {path}");
            Miss::Reject(Reject::new(Reason::ClaimMissing, error))
        } else {
            Miss::Later(format!("{path}: {error}"))
        }
    }
}

/// No file can have this path: a part of it is a file, or too long for a name, or the store takes no such name. All
/// else that can happen to a folder comes from the system.
fn no_such_name(error: &Error) -> bool {
    let mut source = error.source();
    while let Some(found) = source {
        if let Some(found) = found.downcast_ref::<io::Error>() {
            use io::ErrorKind::{InvalidFilename, InvalidInput, IsADirectory, NotADirectory};
            return matches!(
                found.kind(),
                InvalidFilename | InvalidInput | IsADirectory | NotADirectory
            );
        }
        source = found.source();
    }
    true
}

#[cfg(test)]
mod tests;
