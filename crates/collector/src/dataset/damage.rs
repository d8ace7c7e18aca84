//! The error of a file that is not as the collector wrote it: only the user can put that right.

use crate::dataset::names;
use crate::dataset::store::Store;
use tidemill_core::exit::Failure;

/// `path` cannot be used. A cause that has its own remedy, as a file of another version has, keeps it.
pub(crate) fn damaged(store: &Store, path: &str, cause: anyhow::Error) -> anyhow::Error {
    if cause.chain().any(|cause| cause.is::<Failure>()) {
        return cause.context(format!("{path} in {store}"));
    }
    let or = match names::parse_data(path) {
        Some(_) => {
            "; or, if it is the newest of its partition, move it away: its records are collected again, as far as the \
             topic has them"
        }
        None => "",
    };
    Failure::usage(format!(
        "{path} in {store} is not as it was written: {cause:#}. Put it back{or}; or give another --out. `collector \
         verify` names all that is wrong"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::begin::Begin;
    use crate::dataset::store::Location;
    use crate::dataset::{inspect, resume};
    use crate::encode::frozen::{Freezer, Wanted};
    use crate::encode::schema::{Column, Kind, Schema};
    use crate::encode::{Codec, encode};
    use crate::pipeline::batch::Batch;
    use crate::pipeline::tests::{sink, wanted};
    use std::fs;
    use std::path::{Path, PathBuf};
    use tempfile::TempDir;
    use tidemill_core::exit::Code;

    fn rows(first: i64, next: i64) -> Batch {
        let mut batch = Batch::at(first.into());
        for offset in first..next {
            let (value, none) = (format!("{{\"n\":{offset}}}"), std::iter::empty());
            assert!(batch.push(offset.into(), None, None, Some(value.as_bytes()), none));
        }
        batch
    }

    /// A data set of two files of partition 0, and the beginning of partition 1.
    struct DataSet {
        folder: TempDir,
        location: Location,
        store: Store,
    }

    impl DataSet {
        async fn new(schema: Option<Schema>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let location = Location::Folder(folder.path().into());
            let store = Store::open(&location, true).unwrap();
            let wanted = match schema {
                None => wanted(),
                schema => Wanted { schema, ..wanted() },
            };
            let freezer = Freezer::open(store.clone(), wanted).await.unwrap();
            let frozen = freezer.get().unwrap();
            for partition in 0..2 {
                let begin = Begin {
                    topic: "t".into(),
                    topic_id: None,
                    partition,
                    first: 0.into(),
                    partitions: None,
                    from: None,
                    empty: partition == 1,
                    schema: frozen.fingerprint.clone(),
                };
                begin.publish(&store, &frozen).await.unwrap();
            }
            for (first, next) in [(0, 20), (20, 40)] {
                let batch = rows(first, next);
                let files = encode(&"t".into(), 0, batch, &frozen, Codec::Zstd, None).unwrap();
                store
                    .create(&files.data.path, files.data.bytes)
                    .await
                    .unwrap();
            }
            Self {
                folder,
                location,
                store,
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// The errors of a start, of finding positions and of `inspect`.
        async fn meet(&self) -> Vec<anyhow::Error> {
            let mut errors = Vec::new();
            let opened = Freezer::open(self.store.clone(), wanted()).await;
            if opened.is_ok() {
                let sink = sink(self.store.clone()).await;
                errors.extend(resume::positions(&sink.data_set, &[0, 1]).await.err());
            }
            errors.extend(opened.err());
            errors.extend(inspect::inspect(&self.location).await.err());
            errors
        }
    }

    fn newest() -> String {
        names::data("t", 0, 20.into())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_damaged_file_is_named_with_its_remedy_whoever_meets_it() {
        let other = Schema {
            columns: vec![Column {
                name: "m".into(),
                kind: Kind::String,
            }],
            ..wanted().schema.unwrap()
        };
        let (other, begin) = (DataSet::new(Some(other)).await, names::begin("t", 1));
        let older = names::data("t", 0, 0.into());
        let cut = |place: &Path| fs::write(place, &fs::read(place).unwrap()[..100]).unwrap();
        let says = [
            "not a whole",
            "should be named",
            "another schema",
            "it is that of",
        ];
        let [whole, named, schema, that] = says;
        type Damage<'d> = (&'d str, &'d str, usize, &'d dyn Fn(&DataSet));
        let copy = |from: PathBuf, to: PathBuf| assert!(fs::copy(from, to).is_ok());
        let (newest, later) = (newest(), names::data("t", 0, 70.into()));
        let table: [Damage<'_>; 10] = [
            (&newest, whole, 2, &|set| cut(&set.path(&newest))),
            (&newest, whole, 2, &|set| {
                fs::write(set.path(&newest), "").unwrap();
            }),
            (&newest, named, 1, &|set| {
                copy(set.path(&older), set.path(&newest))
            }),
            (&later, named, 1, &|set| {
                copy(set.path(&older), set.path(&later))
            }),
            (&newest, schema, 1, &|set| {
                copy(other.path(&newest), set.path(&newest))
            }),
            (&older, whole, 1, &|set| cut(&set.path(&older))),
            (&begin, whole, 1, &|set| cut(&set.path(&begin))),
            (&begin, that, 1, &|set| {
                copy(set.path(&names::begin("t", 0)), set.path(&begin))
            }),
            (&begin, schema, 1, &|set| {
                copy(other.path(&begin), set.path(&begin))
            }),
            (
                names::SCHEMA,
                whole,
                2,
                &|set| cut(&set.path(names::SCHEMA)),
            ),
        ];
        for (path, says, count, damage) in table {
            let set = DataSet::new(None).await;
            assert_eq!(set.meet().await.len(), 0);
            damage(&set);
            let errors = set.meet().await;
            assert_eq!(errors.len(), count, "{path} {says}: {errors:?}");
            for error in errors {
                assert_eq!(Failure::code(&error), Code::Usage, "{error:#}");
                let text = error.to_string();
                let told = [path, says, "ut it back", "another --out"];
                assert!(told.iter().all(|part| text.contains(part)), "{text}");
            }
        }
    }

    /// Wherever a byte is flipped, and wherever a file is cut, no error is a fault of ours or one that passes.
    #[tokio::test(flavor = "multi_thread")]
    async fn no_damage_is_taken_for_anything_else() {
        let set = DataSet::new(None).await;
        for name in [newest(), names::begin("t", 1), names::SCHEMA.to_owned()] {
            let place = set.path(&name);
            let whole = fs::read(&place).unwrap();
            for at in 0..whole.len() {
                let mut changed = whole.clone();
                changed[at] ^= 1 << (at % 8);
                for bytes in [&changed[..], &whole[..at]] {
                    fs::write(&place, bytes).unwrap();
                    for error in set.meet().await {
                        assert_eq!(Failure::code(&error), Code::Usage, "{name} {at}: {error:#}");
                        assert!(error.to_string().contains(&name), "{error:#}");
                    }
                }
            }
            fs::write(&place, whole).unwrap();
        }
    }
}
