//! A folder and a bucket keep the same promises.

use super::stub::{Faults, Stub};
use super::{Creation, Location, Store, open_bucket};
use crate::dataset::names;
use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use std::collections::BTreeSet;
use std::time::Duration;

/// Starts a stub and opens a data set under `prefix` in it.
pub(crate) async fn stubbed(faults: Faults, prefix: &str) -> (Stub, Store) {
    let (stub, endpoint) = Stub::start(faults).await;
    (stub, bucket(&endpoint, prefix))
}

fn bucket(endpoint: &str, prefix: &str) -> Store {
    let location = Location::parse(&format!("s3://bucket/{prefix}")).unwrap();
    let Location::Bucket(place) = &location else {
        panic!("{location}")
    };
    let builder = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region("here")
        .with_access_key_id("id")
        .with_secret_access_key("secret");
    Store::over(&location, open_bucket(place, builder)).unwrap()
}

/// A folder, a bucket that works, and one whose every other answer is lost or late.
async fn stores() -> (tempfile::TempDir, Vec<Store>) {
    let folder = tempfile::tempdir().unwrap();
    let local = Store::open(&Location::Folder(folder.path().join("a/b")), true).unwrap();
    let (_, bucket) = stubbed(Faults::default(), "data/set").await;
    let faults = Faults {
        busy: Some(3),
        slow: Duration::from_millis(20),
        ..Faults::default()
    };
    let (_, flaky) = stubbed(faults, "").await;
    (folder, vec![local, bucket, flaky])
}

/// Creates a file as lanes do, again until the store answers.
async fn persistently(store: &Store, path: &str, bytes: Bytes) -> Creation {
    for _ in 0..100 {
        if let Ok(creation) = store.create(path, bytes.clone()).await {
            return creation;
        }
    }
    panic!("{store} never answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_given_once_and_its_bytes_stay() {
    let (_folder, stores) = stores().await;
    for store in stores {
        for path in [
            "t+00001+00000000000000000009.parquet",
            "_rejected/t+1.ndjson",
        ] {
            let ours = |n: u8| Bytes::from(vec![n; 100]);
            let tries = (0..8).map(|n| {
                let store = store.clone();
                tokio::spawn(async move { (n, persistently(&store, path, ours(n)).await) })
            });
            let mut made = Vec::new();
            let mut met = BTreeSet::new();
            for outcome in tries.collect::<Vec<_>>() {
                match outcome.await.unwrap() {
                    (n, Creation::Created) => made.push(ours(n)),
                    (_, Creation::Exists(theirs)) => {
                        met.insert(theirs);
                    }
                }
            }
            assert_eq!(made.len(), 1, "{store}");
            assert_eq!(met.into_iter().collect::<Vec<_>>(), made, "{store}");
            assert_eq!(store.read(path).await.unwrap(), made[0]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_listed_found_and_deleted() {
    let (folder, stores) = stores().await;
    for store in stores {
        assert_eq!(store.list(None).await.unwrap(), []);
        assert_eq!(store.list(Some(names::REJECTED)).await.unwrap(), []);
        for n in 0..5 {
            store
                .create(
                    &names::data("t", 0, n.into()),
                    Bytes::from(vec![b'x'; 10 + n as usize]),
                )
                .await
                .unwrap();
        }
        store
            .create(
                &names::rejected("t", 0, 0.into(), 1.into()),
                Bytes::from("r"),
            )
            .await
            .unwrap();
        let files = store.list(None).await.unwrap();
        let found: Vec<(String, u64)> = files
            .into_iter()
            .map(|file| (file.name, file.size))
            .collect();
        let expected: Vec<(String, u64)> = (0..5)
            .map(|n| (names::data("t", 0, n.into()), 10 + n as u64))
            .collect();
        assert_eq!(found, expected, "{store}");
        assert_eq!(
            store.list(Some(names::REJECTED)).await.unwrap().len(),
            1,
            "{store}"
        );
        let path = names::data("t", 0, 4.into());
        assert_eq!(store.tail(&path, 3).await.unwrap(), ("xxx".into(), 14));
        assert_eq!(store.tail(&path, 1000).await.unwrap().0.len(), 14);
        store.delete(&path).await.unwrap();
        store.delete(&path).await.unwrap();
        assert_eq!(store.find(&path).await.unwrap(), None, "{store}");
    }
    let left = std::fs::read_dir(folder.path().join("a/b")).unwrap();
    let names: BTreeSet<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    let data = (0..4).map(|n| names::data("t", 0, n.into()).into());
    assert_eq!(
        names,
        data.chain([names::REJECTED.into()]).collect(),
        "nothing else is left"
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_name_that_cannot_be_read_is_told_with_its_remedy() {
    use std::os::unix::ffi::OsStrExt;
    use tidemill_core::exit::{Code, Failure};
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Location::Folder(folder.path().into()), true).unwrap();
    let name = std::ffi::OsStr::from_bytes(b"\xff.parquet");
    std::fs::write(folder.path().join(name), "").unwrap();
    for listed in [store.list_all().await, store.list(None).await] {
        let error = listed.unwrap_err();
        assert_eq!(Failure::code(&error), Code::Usage, "{error:#}");
        let text = error.to_string();
        assert!(
            text.contains("%FF.parquet") && text.contains("rename it"),
            "{text}"
        );
    }
}

/// Characters that URLs give a meaning to stand for themselves, as other clients of the bucket see them.
#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_is_taken_as_it_is_written() {
    let prefix = "a b/über#1?x=%20&<y>+z";
    let (stub, store) = stubbed(Faults::default(), prefix).await;
    store.create("f", Bytes::from("ours")).await.unwrap();
    let keys: Vec<String> = stub.objects.lock().unwrap().keys().cloned().collect();
    assert_eq!(keys, [format!("{prefix}/f")]);
    assert_eq!(store.list(None).await.unwrap().len(), 1);
    store.create("g/h", Bytes::from("ours")).await.unwrap();
    let all = store.list_all().await.unwrap().into_iter();
    assert_eq!(all.map(|file| file.name).collect::<Vec<_>>(), ["f", "g/h"]);
    assert_eq!(store.read("f").await.unwrap(), "ours");
}

/// Files of `count` offsets each, and other partitions' around them.
fn many(count: i64, step: impl Fn(i64) -> i64) -> Vec<String> {
    let own = (0..count).map(|n| names::data("t", 3, step(n).into()));
    let others = [
        names::data("t", 2, 7.into()),
        names::data("t", 4, i64::MAX.into()),
    ];
    own.chain(others).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_file_is_found_without_listing_those_before() {
    let faults = Faults {
        page: 1_000,
        ..Faults::default()
    };
    let (stub, store) = stubbed(faults, "p").await;
    let even = |n: i64| n * 10_000;
    // Files by age: long silence, then a burst.
    let uneven = |n: i64| if n < 5_000 { n } else { n * n * 100 };
    type Step = fn(i64) -> i64;
    for (count, step) in [
        (0, even as Step),
        (1, even),
        (999, even),
        (1_000, even),
        (1_001, even),
        (200_000, even),
        (20_000, uneven as Step),
    ] {
        let files = many(count, step);
        let keys = files.iter().map(|name| (format!("p/{name}"), Bytes::new()));
        *stub.objects.lock().unwrap() = keys.collect();
        *stub.lists.lock().unwrap() = 0;
        let found = store.newest("t", &[3, 2, 9]).await.unwrap();
        let last = (count > 0).then(|| names::data("t", 3, (step(count - 1)).into()));
        assert_eq!(
            found,
            [last, Some(names::data("t", 2, 7.into())), None],
            "{count}"
        );
        let lists = *stub.lists.lock().unwrap();
        assert!(lists <= 25 + 2, "{lists} listings for {count} files");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_looked_for_alike_in_folders_and_buckets() {
    let (_folder, mut stores) = stores().await;
    // A search takes more requests than one that is busy answers in time.
    stores.truncate(2);
    for store in stores {
        assert_eq!(store.newest("t", &[3]).await.unwrap(), [None]);
        assert_eq!(store.any_with_prefix("t+").await.unwrap(), None);
        let rejects =
            [(3, 10, 20), (3, 20, 25), (3, 30, 40), (4, 20, 30)].map(|(partition, first, next)| {
                names::rejected("t", partition, first.into(), next.into())
            });
        for path in many(5, |n| n * 7).iter().chain(&rejects) {
            persistently(&store, path, Bytes::from("x")).await;
        }
        let newest = store.newest("t", &[4, 3, 5]).await.unwrap();
        let expected = [
            Some(names::data("t", 4, i64::MAX.into())),
            Some(names::data("t", 3, 28.into())),
            None,
        ];
        assert_eq!(newest, expected, "{store}");
        let found = store
            .rejects_from("t", &[(4, 0.into()), (3, 20.into()), (5, 0.into())])
            .await
            .unwrap();
        let sorted = |mut paths: Vec<String>| {
            paths.sort_unstable();
            paths
        };
        let found: Vec<Vec<String>> = found.into_iter().map(sorted).collect();
        assert_eq!(
            found,
            [rejects[3..].to_vec(), rejects[1..3].to_vec(), vec![]],
            "{store}"
        );
        assert_eq!(
            store.any_with_prefix("t+00004").await.unwrap(),
            Some(names::data("t", 4, i64::MAX.into()))
        );
        assert_eq!(store.any_with_prefix("u+").await.unwrap(), None, "{store}");
    }
}

/// In containers every process has the same id, and every store has just been opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_set_below_another_is_not_taken_for_it() {
    let (stub, outer) = stubbed(Faults::default(), "data").await;
    let below = [
        "_begin+t+00000.parquet",
        "t+00000+00000000000000000007.parquet",
    ];
    for name in below {
        let key = format!("data/inner/{name}");
        stub.objects.lock().unwrap().insert(key, Bytes::new());
    }
    assert_eq!(outer.any_with_prefix("_begin+").await.unwrap(), None);
    assert_eq!(outer.any_with_prefix("t+").await.unwrap(), None);
    assert!(outer.list(None).await.unwrap().is_empty());
    persistently(&outer, "t+00000+00000000000000000003.parquet", Bytes::new()).await;
    let found = outer.any_with_prefix("t+").await.unwrap();
    assert_eq!(
        found.as_deref(),
        Some("t+00000+00000000000000000003.parquet")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_of_one_id_never_publish_each_others_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..200 {
        let path = format!("f{round}");
        let race = [b'a', b'b'].map(|own| {
            let store = Store::open(&Location::Folder(folder.path().into()), true).unwrap();
            let (path, bytes) = (path.clone(), Bytes::from(vec![own; 1 << 16]));
            tokio::spawn(async move { (store.create(&path, bytes.clone()).await.unwrap(), bytes) })
        });
        let mut created = Vec::new();
        for racer in race {
            let (creation, bytes) = racer.await.unwrap();
            match creation {
                Creation::Created => created.push(bytes),
                Creation::Exists(theirs) => assert!(theirs != bytes, "round {round}"),
            }
        }
        assert_eq!(created.len(), 1, "round {round}");
        let found = std::fs::read(folder.path().join(&path)).unwrap();
        assert!(created[0] == found, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_whose_answer_was_lost_meets_its_own_bytes() {
    let faults = Faults {
        lost_answers: true,
        ..Faults::default()
    };
    let (stub, store) = stubbed(faults, "p").await;
    let bytes = Bytes::from("ours");
    let outcome = store.create("f", bytes.clone()).await.unwrap();
    assert!(
        matches!(&outcome, Creation::Exists(theirs) if *theirs == bytes),
        "{outcome:?}"
    );
    assert_eq!(
        stub.objects.lock().unwrap().keys().collect::<Vec<_>>(),
        ["p/f"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_files_is_known_before_the_first_one() {
    let (_folder, stores) = stores().await;
    for store in &stores[..2] {
        store.prove_writable().await.unwrap();
        store.create(names::SCHEMA, Bytes::from("s")).await.unwrap();
        store.prove_writable().await.unwrap();
        assert_eq!(store.read(names::SCHEMA).await.unwrap(), "s");
    }
    let faults = Faults {
        read_only: true,
        ..Faults::default()
    };
    let (stub, store) = stubbed(faults, "p").await;
    let key = format!("p/{}", names::SCHEMA);
    stub.objects.lock().unwrap().insert(key, Bytes::from("s"));
    let refused = store.prove_writable().await.unwrap_err();
    assert!(format!("{refused:#}").contains("403"), "{refused:#}");
}

#[test]
fn locations_are_folders_or_buckets() {
    assert_eq!(Location::parse("a/b"), Ok(Location::Folder("a/b".into())));
    assert!(matches!(
        Location::parse("s3://bucket/x"),
        Ok(Location::Bucket(_))
    ));
    for bad in ["", "s3://", "s3:///x", "http://x", "gs://b"] {
        assert!(Location::parse(bad).is_err(), "{bad}");
    }
}
