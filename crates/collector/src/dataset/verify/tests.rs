//! A table of damages, each found and named, and nothing else: what is whole beside it is not accused.

use super::verify;
use crate::dataset::begin::Begin;
use crate::dataset::end::End;
use crate::dataset::store::{Location, Store};
use crate::dataset::topic::Topic;
use crate::dataset::{names, seal};
use crate::encode::frozen::Frozen;
use crate::encode::schema::{Sample, Schema};
use crate::encode::{Codec, Encoded, encode};
use crate::pipeline::batch::Batch;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tidemill_core::exit::{Code, Failure};

fn frozen(sample: &[u8]) -> Frozen {
    let mut seen = Sample::default();
    seen.observe(Some(sample)).unwrap();
    let schema: Schema = seen.schema(false);
    let fingerprint = schema.fingerprint().unwrap();
    Frozen {
        schema,
        fingerprint,
    }
}

fn ours() -> Frozen {
    frozen(b"{\"n\":1}")
}

/// Records of [first, next); each tenth cannot become a row.
fn files_of(topic: &Topic, partition: i32, first: i64, next: i64, frozen: &Frozen) -> Encoded {
    let mut batch = Batch::at(first.into());
    for offset in first..next {
        let value = if offset % 10 == 9 {
            "oops".into()
        } else {
            format!("{{\"n\":{offset}}}")
        };
        assert!(batch.push(
            offset.into(),
            Some(offset),
            None,
            Some(value.as_bytes()),
            std::iter::empty()
        ));
    }
    encode(topic, partition, batch, frozen, Codec::Zstd, None).unwrap()
}

fn files(partition: i32, first: i64, next: i64) -> Encoded {
    files_of(&"t".into(), partition, first, next, &ours())
}

fn begin(partition: i32, first: i64) -> Begin {
    Begin {
        topic: "t".into(),
        topic_id: None,
        partition,
        first: first.into(),
        partitions: Some(4),
        from: (first > 0).then_some(1_000),
        empty: false,
        schema: ours().fingerprint,
    }
}

struct DataSet(TempDir);

impl DataSet {
    /// Three files of partition 0; one of partition 1, which begins at 5; a gap and a file of partition 2; partition 3,
    /// which was empty.
    async fn new() -> Self {
        let data_set = Self(tempfile::tempdir().unwrap());
        fs::create_dir(data_set.path(names::REJECTED)).unwrap();
        let schema = ours().schema.to_parquet("t").unwrap();
        fs::write(data_set.path(names::SCHEMA), schema).unwrap();
        for (partition, first) in [(0, 0), (1, 5), (2, 0)] {
            data_set.begin(&begin(partition, first)).await;
        }
        let empty = true;
        data_set
            .begin(&Begin {
                empty,
                ..begin(3, 7)
            })
            .await;
        for (partition, first, next) in
            [(0, 0, 30), (0, 30, 47), (0, 47, 60), (1, 5, 6), (2, 40, 50)]
        {
            data_set.write(&files(partition, first, next));
        }
        let gap = Batch::gap(0.into()..40.into());
        data_set.write(&encode(&"t".into(), 2, gap, &ours(), Codec::Zstd, None).unwrap());
        let end = End {
            topic: "t".into(),
            positions: [(0, 60), (1, 6), (2, 50), (3, 7)]
                .map(|(partition, position)| (partition, position.into()))
                .into(),
            schema: ours().fingerprint,
        };
        let store = Store::open(&data_set.location(), false).unwrap();
        end.publish(&store, &ours()).await.unwrap();
        data_set
    }

    fn location(&self) -> Location {
        Location::Folder(self.0.path().into())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, files: &Encoded) {
        for file in files.rejects.iter().chain([&files.data]) {
            fs::write(self.path(&file.path), &file.bytes).unwrap();
        }
    }

    async fn begin(&self, begin: &Begin) {
        let store = Store::open(&self.location(), false).unwrap();
        begin.publish(&store, &ours()).await.unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        edit(&self.path(name), change);
    }

    fn replace(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from));
        fs::write(self.path(name), text.replace(from, to)).unwrap();
    }

    /// A bit in the middle of a file.
    fn flip(&self, name: &str, part: usize) {
        self.edit(name, |bytes| {
            let at = bytes.len() * part / 8;
            bytes[at] ^= 0x10;
        });
    }

    async fn faults(&self) -> Vec<String> {
        verify(&self.location(), None).await.unwrap().faults
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn first() -> String {
    names::data("t", 0, 0.into())
}

fn second() -> String {
    names::data("t", 0, 30.into())
}

fn third() -> String {
    names::data("t", 0, 47.into())
}

fn rejects() -> String {
    names::rejected("t", 0, 30.into(), 47.into())
}

fn ending() -> String {
    let positions = r#"{"0":60,"1":6,"2":50,"3":7}"#;
    names::end("t", &seal::hex(positions.as_bytes()))
}

fn beginning() -> String {
    names::begin("t", 0)
}

/// The damage, a part of the message about it, and the deed.
type Damage = (&'static str, &'static str, fn(&DataSet));

const DAMAGES: [Damage; 51] = [
    ("a lost file", "gap, offsets 30 to 47", |set| {
        set.remove(&second());
        set.remove(&rejects());
    }),
    (
        "a lost file, but not its rejects",
        "belongs to no data file",
        |set| {
            set.remove(&second());
        },
    ),
    ("the first file lost", "gap, offsets 0 to 30", |set| {
        set.remove(&first())
    }),
    ("the first two files lost", "gap, offsets 0 to 47", |set| {
        set.remove(&first());
        set.remove(&second());
    }),
    (
        "all files of a partition lost",
        "t 0: it begins at 0, and there is no file",
        |set| {
            [first(), second(), third()]
                .iter()
                .for_each(|name| set.remove(name));
        },
    ),
    (
        "all files of a partition lost, with its beginning",
        "t 1: there is no file of it, not even of its beginning",
        |set| {
            set.remove(&names::data("t", 1, 5.into()));
            set.remove(&names::begin("t", 1));
        },
    ),
    (
        "the beginning of an empty partition lost",
        "t 3: there is no file of it",
        |set| set.remove(&names::begin("t", 3)),
    ),
    (
        "the last file lost",
        "t 0: the last files are missing: a bounded run has collected up to 60, the files end at 47",
        |set| set.remove(&third()),
    ),
    (
        "all lost but the schema",
        "there is nothing here but the schema",
        |set| {
            for entry in fs::read_dir(set.0.path()).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if name.ends_with(".parquet") && name != names::SCHEMA {
                    set.remove(&name);
                }
            }
            fs::remove_dir_all(set.path(names::REJECTED)).unwrap();
        },
    ),
    ("an end cut", "not a whole Parquet file", |set| {
        set.edit(&ending(), |bytes| bytes.truncate(bytes.len() / 2));
    }),
    ("a copy kept aside", ".parquet.bak: not a name", |set| {
        let copy = format!("{}.bak", second());
        fs::copy(set.path(&second()), set.path(&copy)).unwrap();
    }),
    ("a copy in a folder", "000030.parquet: not a name", |set| {
        fs::create_dir_all(set.path("old/p=1")).unwrap();
        let copy = format!("old/p=1/{}", second());
        fs::copy(set.path(&second()), set.path(&copy)).unwrap();
    }),
    ("a name in capitals", ".PARQUET: not a name", |set| {
        set.rename(&third(), &third().replace(".parquet", ".PARQUET"));
    }),
    ("a lost gap", "gap, offsets 0 to 40 of t 2", |set| {
        set.remove(&names::data("t", 2, 0.into()))
    }),
    ("an overlap", "overlap, offsets 47 to 50", |set| {
        set.write(&files(0, 30, 50));
        set.remove(&rejects());
    }),
    (
        "records before the beginning",
        "before its beginning",
        |set| {
            set.write(&files(1, 3, 6));
        },
    ),
    ("lost rejects", "its rejects", |set| set.remove(&rejects())),
    (
        "a reject line lost",
        "has 0 records, the footer tells of 1",
        |set| {
            fs::write(set.path(&rejects()), "").unwrap();
        },
    ),
    ("a reject line doubled", "has 2 records", |set| {
        set.edit(&rejects(), |bytes| bytes.extend(bytes.clone()));
    }),
    ("a reject that is a row", "among the rows", |set| {
        set.replace(&rejects(), "\"offset\":39", "\"offset\":38");
    }),
    ("a reject of elsewhere", "outside of 30 to 47", |set| {
        set.replace(&rejects(), "\"offset\":39", "\"offset\":99");
    }),
    (
        "a reject's value changed",
        "other bytes than those the footer tells of",
        |set| {
            set.replace(
                &rejects(),
                "\"value\":\"b29wcw==\"",
                "\"value\":\"b29wcA==\"",
            );
        },
    ),
    ("rejects that are no JSON", "line 1", |set| {
        fs::write(set.path(&rejects()), "oops\n").unwrap();
    }),
    (
        "the rejects of another file",
        "outside of 30 to 47",
        |set| {
            fs::copy(
                set.path(&names::rejected("t", 0, 0.into(), 30.into())),
                set.path(&rejects()),
            )
            .unwrap();
        },
    ),
    ("rejects of no file", "belongs to no data file", |set| {
        fs::write(set.path(&names::rejected("t", 0, 10.into(), 20.into())), "").unwrap();
    }),
    ("a file cut in half", "not a whole Parquet file", |set| {
        set.edit(&second(), |bytes| bytes.truncate(bytes.len() / 2));
    }),
    ("a file cut by a byte", "not a whole Parquet file", |set| {
        set.edit(&second(), |bytes| bytes.truncate(bytes.len() - 1));
    }),
    ("an empty file", "not a whole Parquet file", |set| {
        fs::write(set.path(&second()), "").unwrap();
    }),
    (
        "a file with something after it",
        "not a whole Parquet file",
        |set| {
            set.edit(&second(), |bytes| bytes.extend(*b"more"));
        },
    ),
    ("a file of zeros", "not a whole Parquet file", |set| {
        set.edit(&second(), |bytes| bytes.fill(0));
    }),
    ("a block of zeros", "differ from the digest", |set| {
        set.edit(&second(), |bytes| bytes[8..24].fill(0));
    }),
    ("a bit of the first page", "differ from the digest", |set| {
        set.edit(&second(), |bytes| bytes[40] ^= 1);
    }),
    ("a bit of the last page", "differ from the digest", |set| {
        set.flip(&second(), 2)
    }),
    ("a bit of the digest", "differ from the digest", |set| {
        set.edit(&second(), |bytes| {
            let key = b"tidemill.digest";
            let mut places = bytes.windows(key.len());
            let at = places.rposition(|found| found == key).unwrap() + key.len() + 10;
            bytes[at] ^= 1;
        });
    }),
    ("a bit of the rejects", "_rejected/t+00000", |set| {
        set.flip(&rejects(), 4)
    }),
    ("a bit of the schema", "_schema.parquet", |set| {
        set.flip(names::SCHEMA, 4)
    }),
    ("a bit of a beginning", "_begin+t+00000", |set| {
        set.flip(&beginning(), 4)
    }),
    ("a renamed file", "its footer is that of", |set| {
        set.rename(&second(), &names::data("t", 0, 31.into()));
    }),
    ("a copied file", "its footer is that of", |set| {
        fs::copy(
            set.path(&second()),
            set.path(&names::data("t", 9, 30.into())),
        )
        .unwrap();
    }),
    ("two files exchanged", "its footer is that of", |set| {
        set.rename(&second(), "_x");
        set.rename(&third(), &second());
        set.rename("_x", &third());
    }),
    (
        "a file written by something else",
        "the footer has no tidemill",
        |set| {
            fs::copy(
                set.path(names::SCHEMA),
                set.path(&names::data("t", 0, 60.into())),
            )
            .unwrap();
        },
    ),
    ("a strange file", "not a name of this data set", |set| {
        fs::copy(set.path(&second()), set.path("copy of it.parquet")).unwrap();
    }),
    (
        "a file of another schema",
        "another schema than the data set",
        |set| {
            set.write(&files_of(&"t".into(), 0, 47, 60, &frozen(b"{\"m\":1.5}")));
        },
    ),
    (
        "another schema",
        "another schema than the data set",
        |set| {
            let other = frozen(b"{\"m\":1.5}").schema.to_parquet("t").unwrap();
            fs::write(set.path(names::SCHEMA), other).unwrap();
        },
    ),
    (
        "a schema that cannot be read",
        "_schema.parquet: not a schema",
        |set| {
            fs::write(set.path(names::SCHEMA), "{").unwrap();
        },
    ),
    ("a lost schema", "_schema.parquet: it is missing", |set| {
        set.remove(names::SCHEMA)
    }),
    ("the schema of another topic", "in a data set of u", |set| {
        let other = ours().schema.to_parquet("u").unwrap();
        fs::write(set.path(names::SCHEMA), other).unwrap();
    }),
    (
        "files of another topic",
        "u 0: there are files of it, in a data set of t",
        |set| {
            set.write(&files_of(&"u".into(), 0, 0, 5, &ours()));
        },
    ),
    (
        "a lost beginning",
        "_begin+t+00000.parquet: it is missing",
        |set| set.remove(&beginning()),
    ),
    (
        "the beginning of another partition",
        "it is that of _begin+t+00002",
        |set| {
            fs::copy(set.path(&names::begin("t", 2)), set.path(&beginning())).unwrap();
        },
    ),
    (
        "a beginning cut",
        "is not as it was written: not a whole",
        |set| {
            set.edit(&beginning(), |bytes| bytes.truncate(bytes.len() / 2));
        },
    ),
];

#[tokio::test]
async fn every_damage_is_named_and_nothing_else() {
    for (what, told, damage) in DAMAGES {
        let data_set = DataSet::new().await;
        assert_eq!(data_set.faults().await, Vec::<String>::new());
        damage(&data_set);
        let faults = data_set.faults().await;
        let named = faults.iter().any(|fault| fault.contains(told));
        assert!(named, "{what}: {faults:?}");
        // All but damage to the whole set, and to the other partitions themselves, leaves these alone.
        let others = ["t+00001", "t+00002", "t 1:", "t 2:"];
        let other = |fault: &String| others.iter().any(|other| fault.contains(other));
        let spreads = told.contains("another schema") || told.contains("data set of u");
        let own = told.contains("t 2") || told.contains("its beginning") || told.contains("00002");
        assert!(
            spreads || own || !faults.iter().any(other),
            "{what}: {faults:?}"
        );
    }
}

#[tokio::test]
async fn files_of_a_topic_made_anew_are_told_from_those_before() {
    let data_set = DataSet::new().await;
    let [old, new] = ["AAAAAAAAAAAAAAAAAAAAAQ", "AAAAAAAAAAAAAAAAAAAAAg"].map(|id| id.parse().ok());
    data_set.remove(&beginning());
    let topic_id = old;
    data_set
        .begin(&Begin {
            topic_id,
            ..begin(0, 0)
        })
        .await;
    assert_eq!(data_set.faults().await, Vec::<String>::new());
    let topic = Topic {
        id: new,
        ..Topic::from("t")
    };
    data_set.write(&files_of(&topic, 0, 60, 70, &ours()));
    let faults = data_set.faults().await;
    assert!(
        faults[0].contains("deleted and created again"),
        "{faults:?}"
    );
}

#[tokio::test]
async fn nothing_is_no_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let report = verify(&Location::Folder(folder.path().into()), None).await;
    let faults = report.unwrap().faults;
    assert!(
        faults[0].contains("there is no data set here"),
        "{faults:?}"
    );
    let mistyped = Location::Folder(folder.path().join("labled"));
    let error = verify(&mistyped, None).await.unwrap_err();
    assert_eq!(Failure::code(&error), Code::Usage, "{error:#}");
}

/// 18 of 25 such changes read as other values in pandas.
#[tokio::test]
async fn a_flipped_byte_of_any_file_is_found() {
    let data_set = DataSet::new().await;
    let paths = [
        second(),
        rejects(),
        names::SCHEMA.to_owned(),
        beginning(),
        ending(),
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
