//! Large values as claims: the bytes become an object, and the record only refers to it.

use std::path::Path as FilePath;

use anyhow::{Context, Result};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tidemill_core::location::{Location, bucket};

/// A store for objects, and the size from which values become objects.
pub(super) struct Claims {
    store: Box<dyn ObjectStore>,
    /// Larger values become claims.
    above: usize,
    runtime: tokio::runtime::Runtime,
}

impl Claims {
    /// Opens a folder, created if it is missing, or a bucket.
    pub(super) fn open(place: &str, above: usize) -> Result<Claims> {
        let store: Box<dyn ObjectStore> =
            match Location::parse(place).map_err(anyhow::Error::msg)? {
                Location::Folder(folder) => {
                    std::fs::create_dir_all(&folder)
                        .with_context(|| format!("cannot create {}", folder.display()))?;
                    Box::new(LocalFileSystem::new_with_prefix(folder)?)
                }
                Location::Bucket(place) => Box::new(bucket(&place, AmazonS3Builder::from_env())?),
            };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting a runtime")?;
        Ok(Claims {
            store,
            above,
            runtime,
        })
    }

    /// The claim for a value that is too large for a record; `None` for any other.
    pub(super) fn for_large(&self, value: &[u8]) -> Result<Option<Vec<u8>>> {
        let large = value.len() > self.above;
        large.then(|| self.store(value)).transpose()
    }

    /// The claim for the content of a file.
    pub(super) fn for_file(&self, file: &FilePath) -> Result<Vec<u8>> {
        let bytes =
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        self.store(&bytes)
    }

    /// Stores an object under its own digest, so that equal values share one; returns the claim.
    fn store(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let digest = Sha256::digest(bytes);
        let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let payload = PutPayload::from(bytes.to_vec());
        let path = Path::from(sha256.as_str());
        self.runtime
            .block_on(self.store.put(&path, payload))
            .context("cannot store the object of a claim")?;
        let claim = json!({"$claim": {"path": sha256, "length": bytes.len(), "sha256": sha256}});
        Ok(serde_json::to_vec(&claim)?)
    }
}
