//! Fetches the objects that claims refer to, and checks that they match.

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

/// Time limit for one object: less than `max.poll.interval.ms`, after which the group would expel the worker.
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

/// The reason why an object was not fetched.
enum Miss {
    /// It never will be.
    Reject(Reject),
    /// It may be later.
    Later(String),
}

impl Resolver {
    /// A resolver on the current runtime; `shutdown` ends waiting for a store that does not answer.
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

    /// The content to decode for a value; blocks its thread during a fetch, at most 20 s.
    #[inline]
    pub fn resolve(&self, value: Option<&[u8]>) -> Result<Content, Unavailable> {
        match value {
            Some(bytes) if is_claim(value) => self.runtime.block_on(self.object(bytes)),
            _ => Ok(Content::Own),
        }
    }

    /// Like [`Resolver::resolve`], for a value that will be resolved again: it is not counted.
    pub fn peek(&self, value: Option<&[u8]>) -> Result<Content, Unavailable> {
        match value {
            Some(bytes) if is_claim(value) => self.runtime.block_on(self.outcome(bytes)),
            _ => Ok(Content::Own),
        }
    }

    /// Starts fetching the object that a value refers to; the outcome arrives at the receiver.
    pub(super) fn begin(&self, value: Vec<u8>) -> Receiver<Result<Content, Unavailable>> {
        let (sender, outcome) = channel();
        let resolver = self.clone();
        self.runtime.spawn(async move {
            // The receiver is gone if the partition is.
            sender.send(resolver.object(&value).await).ok();
        });
        outcome
    }

    /// Like [`Resolver::resolve`], for async tasks.
    pub async fn fetch(&self, value: Option<&[u8]>) -> Result<Content, Unavailable> {
        match value {
            Some(bytes) if is_claim(value) => self.object(bytes).await,
            _ => Ok(Content::Own),
        }
    }

    async fn object(&self, value: &[u8]) -> Result<Content, Unavailable> {
        let started = Instant::now();
        let found = self.outcome(value).await;
        let result = match &found {
            Ok(Content::Unusable(_)) => "unusable",
            Ok(_) => "resolved",
            Err(_) => "unavailable",
        };
        metrics::counter!("tidemill_claims_total", "result" => result).increment(1);
        stage("claim", started.elapsed());
        found
    }

    async fn outcome(&self, value: &[u8]) -> Result<Content, Unavailable> {
        let started = Instant::now();
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(LIMIT, self.bytes(value)) => {
                outcome.unwrap_or_else(|_| Err(Miss::Later(format!("no object within {LIMIT:?}"))))
            }
            () = self.shutdown.cancelled() => Err(Miss::Later("stopping".into())),
        };
        match outcome {
            Ok(bytes) => Ok(Content::Object(bytes)),
            Err(Miss::Reject(reject)) => Ok(Content::Unusable(reject)),
            Err(Miss::Later(error)) => Err(Unavailable {
                error,
                took: started.elapsed(),
            }),
        }
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
        // Before the body is read, so that no object can take more memory than it claims.
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

    /// Distinguishes a missing object from a store that is away.
    fn miss(&self, path: &object_store::path::Path, error: Error) -> Miss {
        let missing = match &error {
            // An unmounted folder or a missing bucket says nothing about the object.
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

/// True if no file can have this path: a part of it is a file or too long for a name, or the store refuses the name,
/// which is every error without an `io::Error` among its causes.
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
