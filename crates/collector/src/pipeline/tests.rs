//! The files that lanes leave behind, whoever else is at work and wherever a process was killed.

use super::{Lane, Outcome, Sink, What};
use crate::dataset::open::{Begins, DataSet};
use crate::dataset::store::stub::Faults;
use crate::dataset::store::tests::stubbed;
use crate::dataset::store::{Location, Store};
use crate::dataset::topic::Topic;
use crate::dataset::{names, reader, resume, verify};
use crate::encode::frozen::{Freezer, Wanted};
use crate::encode::schema::{Sample, Schema};
use crate::encode::{Codec, encode};
use crate::pipeline::batch::Batch;
use crate::pipeline::encoders::Encoders;
use crate::pipeline::encoding::Encoding;
use crate::pipeline::premises::Premises;
use crate::pipeline::retry::Outages;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidemill_core::claim::{Claims, Resolver};
use tidemill_core::exit::{Code, Failure};
use tidemill_core::health::Health;
use tidemill_core::kafka::StoredPosition;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Time limit for everything that a test waits for.
const SOON: Duration = Duration::from_secs(30);

struct Rig {
    folder: TempDir,
    sink: Sink,
}

fn schema() -> Schema {
    let mut sample = Sample::default();
    sample.observe(Some(b"{\"n\":1}")).unwrap();
    sample.schema(false)
}

pub(crate) fn wanted() -> Wanted {
    Wanted {
        topic: "t".into(),
        schema: Some(schema()),
        ..Wanted::default()
    }
}

pub(crate) async fn sink(store: Store) -> Sink {
    sink_of(store, "t".into(), Begins::default()).await
}

pub(crate) async fn sink_of(store: Store, topic: Topic, begins: Begins) -> Sink {
    let freezer = Freezer::open(store.clone(), wanted()).await.unwrap();
    let health = Health::starting();
    let store_part = health.part("store");
    store_part.ready();
    let encoders = Encoders::start(2).unwrap();
    Sink {
        data_set: DataSet::new(topic, store, freezer, begins),
        encoding: Encoding::new(resolver(None), Codec::Zstd, encoders),
        premises: Premises::default(),
        health,
        journal: std::sync::Arc::default(),
        outages: Outages::of(store_part),
        runtime: Handle::current(),
    }
}

fn resolver(location: Option<Location>) -> Resolver {
    let claims = Claims {
        location,
        max_bytes: 1 << 20,
    };
    Resolver::open(&claims, &CancellationToken::new()).unwrap()
}

impl Rig {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Folder(folder.path().into()), true).unwrap();
        let sink = sink(store).await;
        Self { folder, sink }
    }

    async fn faults(&self) -> Vec<String> {
        let location = Location::Folder(self.folder.path().into());
        verify::verify(&location, None).await.unwrap().faults
    }

    async fn position(&self) -> Option<i64> {
        let found = resume::positions(&self.sink.data_set, &[0]).await.unwrap()[0].1;
        found.map(|position| position.next)
    }

    /// Waits until the process is unready for this reason.
    fn until_unready(&self, because: &str) {
        let deadline = Instant::now() + SOON;
        while !self.sink.health.reasons().contains(because) {
            let reasons = self.sink.health.reasons();
            assert!(Instant::now() < deadline, "{because}: {reasons}");
            std::thread::yield_now();
        }
    }
}

/// Records of [first, next); every fifth cannot become a row.
fn batch(first: i64, next: i64) -> Batch {
    let mut batch = Batch::at(first.into());
    for offset in first..next {
        let value = match offset % 5 {
            4 => "oops".to_owned(),
            _ => format!("{{\"n\":{offset}}}"),
        };
        assert!(batch.push(
            offset.into(),
            Some(offset),
            None,
            Some(value.as_bytes()),
            std::iter::empty()
        ));
    }
    batch
}

/// Sends batches through a lane of their own and waits for what becomes of them.
fn send(sink: &Sink, batches: Vec<Batch>) -> Vec<What> {
    let (outcomes, told) = channel();
    let lane = Lane::open(sink, 0, 1, outcomes);
    let count = batches.len();
    batches.into_iter().for_each(|batch| lane.give(batch));
    drop(lane);
    collect(&told, count)
}

fn collect(told: &Receiver<Outcome>, most: usize) -> Vec<What> {
    (0..most)
        .map_while(|_| told.recv_timeout(SOON).ok())
        .map(|outcome| outcome.what)
        .collect()
}

fn published(whats: &[What]) -> Vec<(i64, i64)> {
    let ranges = whats.iter().map(|what| match what {
        What::Published(footer) => (footer.first.into(), footer.next.into()),
        other => panic!("{other:?}"),
    });
    ranges.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_become_files_in_their_order() {
    let rig = Rig::new().await;
    let batches = vec![
        batch(0, 20),
        Batch::gap(20.into()..30.into()),
        batch(30, 37),
        batch(37, 40),
    ];
    let whats = send(&rig.sink, batches);
    assert_eq!(published(&whats), [(0, 20), (20, 30), (30, 37), (37, 40)]);
    assert_eq!(rig.faults().await, Vec::<String>::new());
    assert_eq!(rig.position().await, Some(40));
    let gap = rig
        .sink
        .data_set
        .store()
        .read(&names::data("t", 0, 20.into()))
        .await
        .unwrap();
    let gap = reader::footer(&gap).unwrap();
    assert!(gap.gap && gap.next == 30.into() && gap.rows == 0);
    let location = Location::Folder(rig.folder.path().into());
    let report = verify::verify(&location, None).await.unwrap();
    assert_eq!((report.rows, report.rejected, report.gaps), (24, 6, 10));
}

/// As when a disk is unmounted and mounted again: an empty folder is at the place of the data set meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_set_that_is_away_is_waited_for() {
    let rig = Rig::new().await;
    send(&rig.sink, vec![batch(0, 20)]);
    let (own, away) = (rig.folder.path(), tempfile::tempdir().unwrap());
    let away = away.path().join("away");
    for replaced in [false, true] {
        std::fs::rename(own, &away).unwrap();
        if replaced {
            std::fs::create_dir(own).unwrap();
        }
        let next = i64::from(replaced) * 20 + 20;
        let sink = rig.sink.clone();
        let sending = std::thread::spawn(move || send(&sink, vec![batch(next, next + 20)]));
        rig.until_unready(".parquet is gone from");
        assert!(resume::positions(&rig.sink.data_set, &[0]).await.is_err());
        if replaced {
            assert_eq!(std::fs::read_dir(own).unwrap().count(), 0);
            std::fs::remove_dir(own).unwrap();
        }
        std::fs::rename(&away, own).unwrap();
        assert_eq!(published(&sending.join().unwrap()), [(next, next + 20)]);
        assert!(!rig.sink.health.reasons().contains("gone"));
    }
    assert_eq!(rig.faults().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_follows_one_that_is_gone() {
    let rig = Rig::new().await;
    send(&rig.sink, vec![batch(0, 20), batch(20, 40)]);
    let newest = rig.folder.path().join(names::data("t", 0, 20.into()));
    let kept = std::fs::read(&newest).unwrap();
    std::fs::remove_file(&newest).unwrap();
    let sink = rig.sink.clone();
    let sending = std::thread::spawn(move || send(&sink, vec![batch(40, 60)]));
    rig.until_unready("00020.parquet is gone");
    std::fs::write(&newest, kept).unwrap();
    assert_eq!(published(&sending.join().unwrap()), [(40, 60)]);
    assert_eq!(rig.faults().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_records_again_are_the_same_file() {
    let rig = Rig::new().await;
    send(&rig.sink, vec![batch(0, 20)]);
    let again = send(&rig.sink, vec![batch(0, 20), batch(20, 21)]);
    assert_eq!(published(&again), [(0, 20), (20, 21)]);
    let frozen = rig.sink.data_set.frozen().unwrap();
    let encoded = encode(&"t".into(), 0, batch(0, 20), &frozen, Codec::Zstd, None).unwrap();
    assert_eq!(
        rig.sink
            .data_set
            .store()
            .read(&encoded.data.path)
            .await
            .unwrap(),
        encoded.data.bytes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_writes_nothing_after_its_successors_file() {
    let rig = Rig::new().await;
    send(&rig.sink, vec![batch(0, 20), batch(20, 33), batch(33, 50)]);
    // It was stopped after the first file, and goes on as if it were alone: the next file, and two more.
    let mut zombie = send(&rig.sink, vec![batch(20, 40), batch(40, 60), batch(60, 80)]);
    assert!(
        matches!(zombie.pop(), Some(What::Superseded { next }) if next == 33.into())
            && zombie.is_empty()
    );
    assert_eq!(rig.faults().await, Vec::<String>::new());
    assert_eq!(rig.position().await, Some(50));
    let rejects = rig
        .sink
        .data_set
        .store()
        .list(Some(names::REJECTED))
        .await
        .unwrap();
    assert_eq!(rejects.len(), 3, "the zombie's own are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_in_the_way_ends_the_run() {
    let rig = Rig::new().await;
    send(&rig.sink, vec![batch(0, 20)]);
    let path = names::data("t", 0, 20.into());
    rig.sink
        .data_set
        .store()
        .create(&path, "PAR1".into())
        .await
        .unwrap();
    let whats = send(&rig.sink, vec![batch(20, 40)]);
    let [What::Failed(error)] = &whats[..] else {
        panic!("{whats:?}");
    };
    assert_eq!(Failure::code(error), Code::Usage);
    assert!(error.to_string().contains(&path), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_race_leave_one_chain() {
    for round in 0..10_i64 {
        let rig = Rig::new().await;
        send(&rig.sink, vec![batch(0, 10)]);
        let cuts = |step: i64| {
            let firsts = (0..)
                .map(move |n| 10 + n * step)
                .take_while(|first| *first < 200);
            firsts
                .map(|first| batch(first, first + step))
                .collect::<Vec<_>>()
        };
        let racers = [cuts(7 + round), cuts(9)].map(|batches| {
            let sink = rig.sink.clone();
            std::thread::spawn(move || send(&sink, batches))
        });
        for racer in racers {
            let whats = racer.join().unwrap();
            let failed = whats.iter().any(|what| matches!(what, What::Failed(_)));
            assert!(!failed, "{whats:?}");
        }
        assert_eq!(rig.faults().await, Vec::<String>::new());
        assert!(rig.position().await.unwrap() >= 200);
    }
}

/// A process that judges otherwise, as by another --max-claim-mb, was killed before its data file, or is about to publish.
#[tokio::test(flavor = "multi_thread")]
async fn rejects_that_are_there_already_are_not_believed() {
    for overtakes in [false, true] {
        let rig = Rig::new().await;
        send(&rig.sink, vec![batch(0, 20)]);
        let frozen = rig.sink.data_set.frozen().unwrap();
        // Of the same range, with another record rejected and ours taken.
        let mut other = Batch::at(20.into());
        for offset in 20..40 {
            let value = if offset == 21 { "[]" } else { "{\"n\":7}" };
            let none = std::iter::empty();
            assert!(other.push(offset.into(), None, None, Some(value.as_bytes()), none));
        }
        let theirs = encode(&"t".into(), 0, other, &frozen, Codec::Zstd, None).unwrap();
        let rejects = theirs.rejects.unwrap();
        let store = rig.sink.data_set.store();
        store.create(&rejects.path, rejects.bytes).await.unwrap();
        if overtakes {
            store
                .create(&theirs.data.path, theirs.data.bytes)
                .await
                .unwrap();
        }
        let whats = send(&rig.sink, vec![batch(20, 40)]);
        match overtakes {
            true => assert!(
                matches!(whats[..], [What::Superseded { next }] if next == 40.into()),
                "{whats:?}"
            ),
            false => assert_eq!(published(&whats), [(20, 40)]),
        }
        assert_eq!(rig.faults().await, Vec::<String>::new());
        let left = store.list(Some(names::REJECTED)).await.unwrap();
        assert_eq!(left.len(), 2, "{left:?}");
        // Again, as by a peer that judges alike: the same file. The next start deletes rejects that nobody counts.
        if !overtakes {
            let again = send(&rig.sink, vec![batch(20, 40)]);
            assert!(match &again[..] {
                [What::Superseded { next }] => *next == 40.into(),
                again => matches!(again, [What::Published(_)]),
            });
            assert_eq!(rig.position().await, Some(40));
            assert_eq!(rig.faults().await, Vec::<String>::new());
        }
    }
}

/// The files on disk when a process is killed after each step of publishing [20, 40).
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_step_is_repaired_by_the_next_start() {
    for step in 0..5 {
        let rig = Rig::new().await;
        send(&rig.sink, vec![batch(0, 20)]);
        let frozen = rig.sink.data_set.frozen().unwrap();
        let files = encode(&"t".into(), 0, batch(20, 40), &frozen, Codec::Zstd, None).unwrap();
        let rejects = files.rejects.unwrap();
        // As on a file system without nameless files.
        let staged = rig.folder.path().join(names::STAGING);
        std::fs::create_dir(&staged).unwrap();
        let half = &files.data.bytes[..files.data.bytes.len() / 2];
        if step >= 1 {
            rig.sink
                .data_set
                .store()
                .create(&rejects.path, rejects.bytes)
                .await
                .unwrap();
        }
        if step >= 2 {
            std::fs::write(staged.join(".tmp1"), half).unwrap();
        }
        if step >= 3 {
            std::fs::write(staged.join(".tmp2"), &files.data.bytes).unwrap();
        }
        if step >= 4 {
            rig.sink
                .data_set
                .store()
                .create(&files.data.path, files.data.bytes)
                .await
                .unwrap();
        }
        let visible = rig.sink.data_set.store().list(None).await.unwrap();
        let parquet = visible
            .iter()
            .filter(|file| names::parse_data(&file.name).is_some());
        for file in parquet {
            let bytes = rig.sink.data_set.store().read(&file.name).await.unwrap();
            reader::rows(bytes).unwrap();
        }
        // The next process reads on from the files and cuts elsewhere, since its tail ends elsewhere.
        let position = rig.position().await.unwrap();
        assert_eq!(position, if step == 4 { 40 } else { 20 });
        let whats = send(&rig.sink, vec![batch(position, 45), batch(45, 60)]);
        assert_eq!(published(&whats), [(position, 45), (45, 60)]);
        assert_eq!(
            rig.position().await,
            Some(60),
            "and stale rejects are swept"
        );
        assert_eq!(
            rig.faults().await,
            Vec::<String>::new(),
            "after step {step}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_is_waited_out() {
    let faults = Faults {
        busy: Some(2),
        lost_answers: true,
        ..Faults::default()
    };
    let (stub, store) = stubbed(faults, "p").await;
    let sink = sink(store).await;
    let whats = send(&sink, vec![batch(0, 20), batch(20, 40)]);
    assert_eq!(published(&whats), [(0, 20), (20, 40)]);
    let keys: Vec<String> = stub.objects.lock().unwrap().keys().cloned().collect();
    assert_eq!(keys.len(), 6, "{keys:?}");
}

/// A look at the file before, and the file itself; beginning the partition is one more.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_a_bucket_takes_two_requests() {
    let (stub, store) = stubbed(Faults::default(), "p").await;
    let sink = sink(store).await;
    *stub.requests.lock().unwrap() = 0;
    // Without any reject.
    let four = |n: i64| batch(5 * n, 5 * n + 4);
    let whats = send(&sink, (0..10).map(four).collect());
    assert_eq!(published(&whats).len(), 10);
    assert_eq!(*stub.requests.lock().unwrap(), 2 * 10 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing() {
    let rig = Rig::new().await;
    send(&rig.sink, vec![batch(0, 20)]);
    // A file where the folder should be: every write fails as on a disk that is full.
    let (place, away) = (rig.folder.path(), rig.folder.path().with_extension("away"));
    std::fs::rename(place, &away).unwrap();
    std::fs::write(place, "").unwrap();
    let (outcomes, told) = channel();
    let lane = Lane::open(&rig.sink, 0, 1, outcomes);
    lane.give(batch(20, 40));
    rig.until_unready("store: ");
    std::fs::remove_file(place).unwrap();
    std::fs::rename(&away, place).unwrap();
    assert_eq!(published(&collect(&told, 1)), [(20, 40)]);
    assert!(!rig.sink.health.reasons().contains("store"));
    assert_eq!(rig.faults().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_tell_their_log_from_others() {
    let mut rig = Rig::new().await;
    let topic = Topic {
        id: "AAAAAAAAAAAAAAAAAAAAAQ".parse().ok(),
        ..Topic::from("t")
    };
    let store = rig.sink.data_set.store().clone();
    rig.sink = sink_of(store, topic.clone(), Begins::default()).await;
    send(&rig.sink, vec![batch(0, 20), batch(20, 40)]);
    let found = resume::positions(&rig.sink.data_set, &[0, 1])
        .await
        .unwrap();
    let expected = StoredPosition {
        topic: topic.id,
        next: 40,
        last: batch(20, 40).last(),
    };
    assert_eq!(found, [(0, Some(expected)), (1, None)]);
    assert!(expected.topic.is_some() && expected.last.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_overwrites_is_refused() {
    let faults = Faults {
        overwrites: true,
        ..Faults::default()
    };
    let (_, store) = stubbed(faults, "p").await;
    let refused = Freezer::open(store, wanted()).await.err().unwrap();
    assert!(refused.to_string().contains("If-None-Match"), "{refused:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_set_is_of_one_topic_one_schema_and_its_own() {
    let rig = Rig::new().await;
    send(&rig.sink, vec![batch(0, 20)]);
    let open = |wanted| Freezer::open(rig.sink.data_set.store().clone(), wanted);
    let refused = async |wanted, says: &str| {
        let error = open(wanted).await.err().unwrap();
        assert_eq!(Failure::code(&error), Code::Usage);
        assert!(error.to_string().contains(says), "{error:#}");
    };
    let topic = "u".to_owned();
    refused(Wanted { topic, ..wanted() }, "is a data set of topic t").await;
    let headers = true;
    refused(
        Wanted {
            headers,
            ..wanted()
        },
        "other --headers",
    )
    .await;
    // Without its schema it goes on with the same one alone, which has to be given.
    let path = rig.folder.path().join(names::SCHEMA);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let schema = None;
    refused(Wanted { schema, ..wanted() }, "no _schema.parquet").await;
    let mut other = self::schema();
    other.columns[0].kind = crate::encode::schema::Kind::String;
    let schema = Some(other);
    refused(Wanted { schema, ..wanted() }, "no _schema.parquet").await;
    open(wanted()).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

/// Two that begin a partition at two places, as by two --from, would leave an overlap.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_begins_at_one_place() {
    let rig = Rig::new().await;
    let peer = sink(rig.sink.data_set.store().clone()).await;
    send(&peer, vec![batch(20, 40)]);
    let whats = send(&rig.sink, vec![batch(0, 20)]);
    assert!(
        matches!(whats[..], [What::Superseded { next }] if next == 20.into()),
        "{whats:?}"
    );
    assert_eq!(rig.position().await, Some(40));
    assert_eq!(rig.faults().await, Vec::<String>::new());
}

/// A process that was killed left rejects which end elsewhere than ours.
#[tokio::test(flavor = "multi_thread")]
async fn leftover_rejects_go_once_nobody_can_publish_their_file() {
    let rig = Rig::new().await;
    send(&rig.sink, vec![batch(0, 20)]);
    for (first, next) in [(20, 30), (60, 70)] {
        let path = names::rejected("t", 0, first.into(), next.into());
        rig.sink
            .data_set
            .store()
            .create(&path, "{}".into())
            .await
            .unwrap();
    }
    assert_eq!(rig.position().await, Some(20));
    send(&rig.sink, vec![batch(20, 40), batch(40, 60)]);
    let left = rig
        .sink
        .data_set
        .store()
        .list(Some(names::REJECTED))
        .await
        .unwrap();
    let left: Vec<&str> = left.iter().map(|file| file.name.as_str()).collect();
    let expected = [(0, 20), (20, 40), (40, 60), (60, 70)]
        .map(|(first, next)| names::rejected("t", 0, first.into(), next.into()));
    let expected = expected
        .each_ref()
        .map(|path| path.rsplit('/').next().unwrap());
    assert_eq!(left, expected, "the last may yet be a peer's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_frozen_from_enough_records_or_taken_from_a_peer() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Location::Folder(folder.path().into()), true).unwrap();
    let open = || {
        let schema = None;
        Freezer::open(store.clone(), Wanted { schema, ..wanted() })
    };
    let (ours, peer) = (open().await.unwrap(), open().await.unwrap());
    peer.observe(Ok(Some(b"{\"n\":1}")));
    for n in 0..1_000 {
        assert!(ours.get().is_none());
        ours.observe(Ok(Some(b"oops")));
        ours.observe(Ok(Some(format!("{{\"n\":{n}}}").as_bytes())));
        if n < 999 {
            ours.freeze_sample().await.unwrap();
        }
    }
    // Read before the schema was frozen, and yet none of the first.
    ours.observe(Ok(Some(b"{\"n\":\"late\",\"more\":1}")));
    assert!(ours.is_due());
    ours.freeze_sample().await.unwrap();
    let frozen = ours.get().unwrap();
    assert_eq!(frozen.schema, schema());
    assert!(peer.is_due() && !peer.is_due(), "not all the time");
    peer.freeze_sample().await.unwrap();
    assert_eq!(peer.get().unwrap().fingerprint, frozen.fingerprint);
}
