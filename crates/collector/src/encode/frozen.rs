//! The schema that all files of a data set share: given, found in the data set, or inferred once and published.

use crate::dataset::begin::Begin;
use crate::dataset::damage::damaged;
use crate::dataset::store::{Creation, Store};
use crate::dataset::{names, reader};
use crate::encode::sampling::{Enough, Sampling};
use crate::encode::schema::{FeatureColumns, Sample, Schema};
use anyhow::{Context, ensure};
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidemill_core::exit::Failure;
use tidemill_core::record::Reject;
use tokio::sync::OnceCell;

/// Limit of fields that are warned of; records may have any number of names.
const FIELDS: usize = 100;

/// A schema that no longer changes.
#[derive(Debug)]
pub(crate) struct Frozen {
    /// The schema.
    pub(crate) schema: Schema,
    /// Its fingerprint, which every footer names.
    pub(crate) fingerprint: String,
}

/// The flags' demands on a data set's schema.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// The topic; a data set is of one.
    pub(crate) topic: String,
    /// The schema in `--schema`.
    pub(crate) schema: Option<Schema>,
    /// There is to be a column `_headers`.
    pub(crate) headers: bool,
    /// The point-in-time features.
    pub(crate) features: Option<FeatureColumns>,
    /// The sample from which a live run infers a schema.
    pub(crate) enough: Enough,
}

/// Holds a data set's schema once it is known; all workers of a process share it.
pub(crate) struct Freezer {
    store: Store,
    wanted: Wanted,
    frozen: OnceCell<Arc<Frozen>>,
    sampling: Mutex<Sampling>,
    /// Fields whose misfits were logged.
    misfits: Mutex<HashSet<String>>,
}

impl Freezer {
    /// Takes the schema from the data set, or from the flags; none where there is neither.
    ///
    /// Errors: the data set is of another topic, was written with another schema than the flags ask for, or has files and
    /// has lost its schema.
    pub(crate) async fn open(store: Store, wanted: Wanted) -> anyhow::Result<Self> {
        let freezer = Self {
            store,
            wanted,
            frozen: OnceCell::new(),
            sampling: Mutex::new(Sampling::new()),
            misfits: Mutex::default(),
        };
        if let Some(found) = freezer.store.find(names::SCHEMA).await? {
            freezer.set(freezer.accept(found)?)?;
            return Ok(freezer);
        }
        freezer.refuse_lost_schema().await?;
        if let Some(given) = freezer.wanted.schema.clone() {
            freezer.publish(given).await?;
        }
        Ok(freezer)
    }

    /// Without its schema a data set that has files cannot go on: one that was inferred again would differ from theirs.
    async fn refuse_lost_schema(&self) -> anyhow::Result<()> {
        let store = &self.store;
        let data = format!("{}+", self.wanted.topic);
        for prefix in [names::BEGIN, &data] {
            let Some(file) = store.any_with_prefix(prefix).await? else {
                continue;
            };
            let own = match names::parse_begin(&file) {
                Some(_) => Begin::read(store, &file, &store.read(&file).await?)?.schema,
                None => reader::read_footer(store, &file).await?.schema,
            };
            let given = self.wanted.schema.clone().map(|given| self.complete(given));
            if given.map(|given| given.fingerprint()).transpose()? == Some(own.clone()) {
                return Ok(());
            }
            return Err(Failure::usage(format!(
                "{store} has files and no {}: put that back, or give --schema with the one they were written with \
                 (fingerprint {own}), or another --out",
                names::SCHEMA
            )));
        }
        Ok(())
    }

    /// A schema with what the flags add to it.
    fn complete(&self, mut schema: Schema) -> Schema {
        schema.headers = self.wanted.headers;
        schema.features.clone_from(&self.wanted.features);
        let mut columns = std::mem::take(&mut schema.columns);
        columns.retain(|column| !schema.is_feature(&column.name));
        schema.columns = columns;
        schema
    }

    /// The schema, if it is known.
    pub(crate) fn get(&self) -> Option<Arc<Frozen>> {
        self.frozen.get().cloned()
    }

    /// The headers of records are kept.
    pub(crate) fn keeps_headers(&self) -> bool {
        self.wanted.headers
    }

    /// Takes a record's content into account while there is no schema.
    pub(crate) fn observe(&self, content: Result<Option<&[u8]>, Reject>) {
        self.sampling().observe(content, self.wanted.enough);
    }

    /// It is time for [`Freezer::freeze_sample`].
    pub(crate) fn is_due(&self) -> bool {
        self.get().is_none() && self.sampling().is_due(self.wanted.enough)
    }

    /// Freezes the schema of what was observed, where that is enough, or takes the one that a peer has frozen.
    pub(crate) async fn freeze_sample(&self) -> anyhow::Result<()> {
        let inferred = {
            let sampling = self.sampling();
            let sample = sampling.enough(self.wanted.enough);
            sample.map(|sample| self.inferred(sample))
        };
        if let Some(schema) = inferred {
            self.publish(schema).await?;
        } else if let Some(found) = self.store.find(names::SCHEMA).await? {
            let take = || async { self.accept(found) };
            self.frozen.get_or_try_init(take).await?;
        } else {
            self.sampling().tell(self.wanted.enough);
        }
        Ok(())
    }

    /// Freezes the schema of a sample, unless one is known already.
    pub(crate) async fn freeze(&self, sample: &Sample) -> anyhow::Result<Arc<Frozen>> {
        self.publish(self.inferred(sample)).await
    }

    /// True if no misfit of this field was logged yet.
    pub(crate) fn is_first_misfit(&self, field: &str) -> bool {
        let mut misfits = self.misfits.lock().unwrap_or_else(PoisonError::into_inner);
        misfits.len() < FIELDS && !misfits.contains(field) && misfits.insert(field.to_owned())
    }

    fn sampling(&self) -> MutexGuard<'_, Sampling> {
        self.sampling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inferred(&self, sample: &Sample) -> Schema {
        sample.lasting_schema(self.wanted.headers)
    }

    async fn publish(&self, schema: Schema) -> anyhow::Result<Arc<Frozen>> {
        let frozen = self.frozen.get_or_try_init(|| self.create(schema)).await;
        frozen.cloned()
    }

    /// Publishes a schema where there is none; a peer's that was there first is taken instead.
    async fn create(&self, schema: Schema) -> anyhow::Result<Arc<Frozen>> {
        let file = self.complete(schema).to_parquet(&self.wanted.topic)?;
        let theirs = match self.store.create(names::SCHEMA, file.clone()).await? {
            Creation::Created => None,
            Creation::Exists(theirs) => Some(theirs),
        };
        // The data set rests on this: a store that overwrites here would overwrite data files too.
        let again = self.store.create(names::SCHEMA, file.clone()).await?;
        if again == Creation::Created {
            return Err(Failure::usage(format!(
                "{} overwrites files although asked not to (If-None-Match): it cannot hold a data set",
                self.store
            )));
        }
        let frozen = self.accept(theirs.unwrap_or(file))?;
        tracing::info!(
            columns = frozen.schema.columns.len(),
            fingerprint = frozen.fingerprint,
            "schema frozen"
        );
        Ok(frozen)
    }

    fn set(&self, frozen: Arc<Frozen>) -> anyhow::Result<()> {
        self.frozen
            .set(frozen)
            .context("the schema was frozen twice")
    }

    /// Reads the data set's schema and holds it against what the flags ask for.
    fn accept(&self, file: Bytes) -> anyhow::Result<Arc<Frozen>> {
        let read = Schema::of_data_set(&file);
        let (schema, topic) = read.map_err(|cause| damaged(&self.store, names::SCHEMA, cause))?;
        let differs = |what: &str| {
            Failure::usage(format!(
                "{} was begun with {what} than asked for now: use the same, or another --out",
                self.store
            ))
        };
        let Wanted {
            topic: wanted,
            schema: given,
            headers,
            features,
            ..
        } = &self.wanted;
        let other_topic = || {
            Failure::usage(format!(
                "{} is a data set of topic {topic}, and cannot take records of {wanted}: give another --out",
                self.store
            ))
        };
        ensure!(topic == *wanted, other_topic());
        ensure!(schema.headers == *headers, differs("other --headers"));
        ensure!(schema.features == *features, differs("other --features"));
        if let Some(given) = given {
            let given = given.columns.iter();
            let own = given.filter(|column| !schema.is_feature(&column.name));
            ensure!(own.eq(&schema.columns), differs("another --schema"));
        }
        let fingerprint = schema.fingerprint()?;
        Ok(Arc::new(Frozen {
            schema,
            fingerprint,
        }))
    }
}
