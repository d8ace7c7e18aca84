//! From batches to the bytes of their files: with the objects that values claim, and on threads of its own.

use super::batch::Batch;
use super::encoders::Encoders;
use super::retry::Outages;
use crate::dataset::topic::Topic;
use crate::encode::frozen::Frozen;
use crate::encode::{Codec, Encoded, encode};
use crate::features::History;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tidemill_core::claim::Resolver;
use tidemill_core::metric::stage;

/// Makes files of batches. Clones are the same.
#[derive(Clone)]
pub(crate) struct Encoding {
    resolver: Resolver,
    codec: Codec,
    /// The history that point-in-time features are computed from.
    history: Option<Arc<History>>,
    encoders: Encoders,
}

impl Encoding {
    /// Without point-in-time features.
    pub(crate) fn new(resolver: Resolver, codec: Codec, encoders: Encoders) -> Self {
        Self {
            resolver,
            codec,
            history: None,
            encoders,
        }
    }

    /// Adds features of this history from now on.
    pub(crate) fn use_history(&mut self, history: History) {
        self.history = Some(Arc::new(history));
    }

    /// Works on these threads from now on.
    pub(crate) fn use_encoders(&mut self, encoders: Encoders) {
        self.encoders = encoders;
    }

    /// Fetches claimed objects.
    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Fetches the batch's claimed objects, retrying for as long as their store fails.
    pub(super) async fn resolve(&self, batch: &mut Batch, outages: &Outages) -> anyhow::Result<()> {
        let mut contents = BTreeMap::new();
        for claim in batch.claims() {
            let fetch = || async { Ok(self.resolver.fetch(claim.value).await?) };
            let content = outages.retry("fetching a claimed object", fetch).await?;
            contents.insert(claim.offset, content);
        }
        batch.resolved(contents);
        Ok(())
    }

    /// The files of a batch whose claimed objects are there.
    pub(super) async fn encode(
        &self,
        topic: Topic,
        partition: i32,
        batch: Batch,
        frozen: Arc<Frozen>,
    ) -> anyhow::Result<Encoded> {
        let (codec, history) = (self.codec, self.history.clone());
        let work = move || {
            let started = Instant::now();
            let encoded = encode(&topic, partition, batch, &frozen, codec, history.as_deref());
            stage("encode", started.elapsed());
            encoded
        };
        self.encoders.run(work).await?
    }
}
