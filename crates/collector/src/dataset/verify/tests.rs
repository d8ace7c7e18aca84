//! Every kind of damage is found and named, and a whole data set has none.

use super::verify;
use crate::dataset::names;
use crate::dataset::store::Location;
use crate::encode::frozen::Frozen;
use crate::encode::schema::{Sample, Schema};
use crate::encode::{Codec, Encoded, encode};
use crate::pipeline::batch::Batch;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn frozen(sample: &[u8]) -> Frozen {
    let mut seen = Sample::default();
    assert!(seen.observe(sample));
    let schema: Schema = seen.schema(false);
    let fingerprint = schema.fingerprint().unwrap();
    Frozen {
        schema,
        fingerprint,
    }
}

/// Records of [first, next); each tenth cannot become a row.
fn files(partition: i32, first: i64, next: i64, frozen: &Frozen) -> Encoded {
    let mut batch = Batch::at(first);
    for offset in first..next {
        let value = if offset % 10 == 9 {
            "oops".into()
        } else {
            format!("{{\"n\":{offset}}}")
        };
        assert!(batch.push(
            offset,
            Some(offset),
            None,
            Some(value.as_bytes()),
            std::iter::empty()
        ));
    }
    encode(&"t".into(), partition, batch, frozen, Codec::Zstd, None).unwrap()
}

struct DataSet(TempDir);

impl DataSet {
    /// Three files of partition 0, one of partition 1, one of another topic.
    fn new() -> Self {
        let data_set = Self(tempfile::tempdir().unwrap());
        let frozen = frozen(b"{\"n\":1}");
        fs::create_dir(data_set.path(names::REJECTED)).unwrap();
        fs::write(
            data_set.path(names::SCHEMA),
            frozen.schema.to_parquet().unwrap(),
        )
        .unwrap();
        for (partition, first, next) in [(0, 0, 30), (0, 30, 47), (0, 47, 60), (1, 5, 6)] {
            data_set.write(&files(partition, first, next, &frozen));
        }
        data_set
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, files: &Encoded) {
        for file in files.rejects.iter().chain([&files.data]) {
            fs::write(self.path(&file.path), &file.bytes).unwrap();
        }
    }

    async fn faults(&self) -> Vec<String> {
        verify(&Location::Folder(self.0.path().into()))
            .await
            .unwrap()
            .faults
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn every_damage_is_named_and_nothing_else() {
    let second = names::data("t", 0, 30);
    let third = names::data("t", 0, 47);
    let rejects = names::rejected("t", 0, 30, 47);
    let other = frozen(b"{\"m\":1.5}");
    type Damage<'a> = Box<dyn Fn(&DataSet) + 'a>;
    let damages: Vec<(&str, &str, Damage<'_>)> = vec![
        (
            "a lost file",
            "gap, offsets 30 to 47",
            Box::new(|set| {
                fs::remove_file(set.path(&second)).unwrap();
                fs::remove_file(set.path(&rejects)).unwrap();
            }),
        ),
        (
            "rejects of a lost file",
            "belongs to no data file",
            Box::new(|set| {
                fs::remove_file(set.path(&second)).unwrap();
            }),
        ),
        (
            "an overlap",
            "overlap, offsets 47 to 50",
            Box::new(|set| {
                set.write(&files(0, 30, 50, &frozen(b"{\"n\":1}")));
                fs::remove_file(set.path(&rejects)).unwrap();
            }),
        ),
        (
            "lost rejects",
            "its rejects",
            Box::new(|set| fs::remove_file(set.path(&rejects)).unwrap()),
        ),
        (
            "a reject line lost",
            "has 0 records, the footer tells of 1",
            Box::new(|set| {
                fs::write(set.path(&rejects), "").unwrap();
            }),
        ),
        (
            "a reject line doubled",
            "has 2 records",
            Box::new(|set| {
                edit(&set.path(&rejects), |bytes| bytes.extend(bytes.clone()));
            }),
        ),
        (
            "a reject that is a row",
            "among the rows",
            Box::new(|set| {
                edit(&set.path(&rejects), |bytes| {
                    *bytes = String::from_utf8(bytes.clone())
                        .unwrap()
                        .replace("\"offset\":39", "\"offset\":38")
                        .into();
                });
            }),
        ),
        (
            "a reject of elsewhere",
            "outside of 30 to 47",
            Box::new(|set| {
                edit(&set.path(&rejects), |bytes| {
                    *bytes = String::from_utf8(bytes.clone())
                        .unwrap()
                        .replace("\"offset\":39", "\"offset\":99")
                        .into();
                });
            }),
        ),
        (
            "a cut file",
            "not a whole Parquet file",
            Box::new(|set| {
                edit(&set.path(&second), |bytes| bytes.truncate(bytes.len() / 2));
            }),
        ),
        (
            "an empty file",
            "not a whole Parquet file",
            Box::new(|set| fs::write(set.path(&second), "").unwrap()),
        ),
        (
            "a renamed file",
            "its footer is that of",
            Box::new(|set| {
                fs::rename(set.path(&second), set.path(&names::data("t", 0, 31))).unwrap();
            }),
        ),
        (
            "a copied file",
            "its footer is that of",
            Box::new(|set| {
                fs::copy(set.path(&second), set.path(&names::data("t", 9, 30))).unwrap();
            }),
        ),
        (
            "a strange file",
            "not a name of this data set",
            Box::new(|set| {
                fs::copy(set.path(&second), set.path("copy of it.parquet")).unwrap();
            }),
        ),
        (
            "another schema",
            "another schema",
            Box::new(|set| {
                set.write(&files(0, 47, 60, &other));
            }),
        ),
        (
            "no schema that can be read",
            "_schema.parquet",
            Box::new(|set| {
                fs::write(set.path(names::SCHEMA), "{").unwrap();
            }),
        ),
    ];
    for (what, told, damage) in &damages {
        let data_set = DataSet::new();
        assert_eq!(data_set.faults().await, Vec::<String>::new());
        damage(&data_set);
        let faults = data_set.faults().await;
        assert!(
            faults.iter().any(|fault| fault.contains(told)),
            "{what}: {faults:?}"
        );
        let elsewhere = faults
            .iter()
            .filter(|fault| fault.contains("t+00001") || fault.contains(&names::data("t", 0, 0)));
        assert_eq!(elsewhere.count(), 0, "{what}: {faults:?}");
    }
    // A byte in the middle of a column.
    let data_set = DataSet::new();
    let whole = fs::read(data_set.path(&third)).unwrap();
    let mut found = 0;
    for at in 4..whole.len() / 3 {
        edit(&data_set.path(&third), |bytes| bytes[at] ^= 0x55);
        found += usize::from(!data_set.faults().await.is_empty());
        fs::write(data_set.path(&third), &whole).unwrap();
    }
    assert!(found > 0, "no flipped byte was found");
}

/// 18 of 25 such changes read as other values in pandas.
#[tokio::test]
async fn a_flipped_byte_of_any_file_is_found() {
    let data_set = DataSet::new();
    let paths = [
        names::data("t", 0, 30),
        names::rejected("t", 0, 30, 47),
        names::SCHEMA.to_owned(),
    ];
    for path in paths.map(|name| data_set.path(&name)) {
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 40) {
            edit(&path, |bytes| bytes[at] ^= 1 << (at % 7));
            let faults = data_set.faults().await;
            assert!(!faults.is_empty(), "byte {at} of {}", path.display());
            fs::write(&path, &whole).unwrap();
        }
    }
    assert_eq!(data_set.faults().await, Vec::<String>::new());
}
