//! Tests: what goes live when files change, one after the other or at once, and what does not.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::SystemTime;

use super::*;
use crate::model::Session;

const FILES: [&str; 3] = ["m.onnx", "external.onnx.data", "m.toml"];

const ROW: [f64; 4] = [120.5, 3.0, 1.0, 0.9];

/// The scores of onnxruntime for [`ROW`] with the bundles `a` and `b`.
const SCORES: [f64; 2] = [0.459_801_08, 0.254_444_24];

fn fixture(name: &str) -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    fs::read(fixtures.join(name)).unwrap()
}

/// Writes bundle `a` or `b` into a folder. Graph, weights and golden score differ, and no sizes do.
fn install(kind: char, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let mut graph = fixture("external.onnx");
    let (weights, score) = if kind == 'a' {
        ("external.onnx.data", SCORES[0])
    } else {
        let relu = graph.windows(4).position(|text| text == b"Relu").unwrap();
        graph[relu..][..4].copy_from_slice(b"Tanh");
        ("external.onnx.data.other", SCORES[1])
    };
    let manifest = format!("[[golden]]\ninput = {ROW:?}\nscore = {score}\n");
    let contents = [graph, fixture(weights), manifest.into_bytes()];
    for (name, bytes) in FILES.iter().zip(contents) {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

fn start(folder: &Path) -> Watcher {
    let path = folder.join(FILES[0]);
    Watcher::new(Arc::new(Models::new(load(&path).unwrap())), path)
}

/// Looks until a change has rested.
fn looks(watcher: &mut Watcher) -> Outcome {
    let outcomes = [(); 3].map(|()| {
        let now = watcher.read();
        watcher.act(now)
    });
    let told = outcomes.into_iter().filter(|one| *one != Outcome::Nothing);
    let told: Vec<Outcome> = told.collect();
    assert!(told.len() < 2, "told once: {told:?}");
    told.into_iter().next().unwrap_or(Outcome::Nothing)
}

fn refusal(watcher: &mut Watcher) -> String {
    match looks(watcher) {
        Outcome::Refused(why) => why,
        other => panic!("{other:?}"),
    }
}

fn score(watcher: &Watcher) -> f64 {
    let mut scores = Vec::new();
    let mut session = Session::new(&watcher.models.current().1).unwrap();
    session.score(&ROW, &mut scores);
    scores[0]
}

fn assert_scores(watcher: &Watcher, expected: f64) {
    let score = score(watcher);
    assert!(
        (score - expected).abs() < 1e-6,
        "{score} instead of {expected}"
    );
}

#[test]
fn contents_decide_where_sizes_and_times_are_equal() {
    let folder = tempfile::tempdir().unwrap();
    let at = |kind| {
        install(kind, folder.path());
        for name in FILES {
            let file = File::options().append(true).open(folder.path().join(name));
            file.unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
    };
    at('a');
    let mut watcher = start(folder.path());
    assert_eq!(looks(&mut watcher), Outcome::Nothing);
    at('b');
    assert_eq!(looks(&mut watcher), Outcome::Swapped);
    assert_scores(&watcher, SCORES[1]);
    // The same contents with other times are the same model.
    install('b', folder.path());
    assert_eq!(looks(&mut watcher), Outcome::Nothing);
}

#[test]
fn weights_beside_the_graph_are_part_of_the_model() {
    let folder = tempfile::tempdir().unwrap();
    install('a', folder.path());
    let file = |name: usize| folder.path().join(FILES[name]);
    // Without golden vectors either weights would do.
    fs::write(file(2), "").unwrap();
    let mut watcher = start(folder.path());
    let before = watcher.models.current().1.sha256.clone();
    fs::write(file(1), fixture("external.onnx.data.other")).unwrap();
    assert_eq!(looks(&mut watcher), Outcome::Swapped);
    assert_ne!(watcher.models.current().1.sha256, before);
    assert_scores(&watcher, 0.507_742_82);
}

#[test]
fn files_may_be_moved_in_place_one_after_the_other_in_any_order() {
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let next = folder.path().join("next");
        install('a', folder.path());
        install('b', &next);
        let mut watcher = start(folder.path());
        for (place, file) in order.into_iter().enumerate() {
            fs::rename(next.join(FILES[file]), folder.path().join(FILES[file])).unwrap();
            if place < 2 {
                let why = refusal(&mut watcher);
                assert!(why.contains("golden[0]"), "{order:?}: {why}");
                assert_scores(&watcher, SCORES[0]);
            }
        }
        assert_eq!(looks(&mut watcher), Outcome::Swapped, "{order:?}");
        assert_scores(&watcher, SCORES[1]);
    }
}

#[test]
fn what_is_not_whole_never_goes_live_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    install('a', folder.path());
    let mut watcher = start(folder.path());
    for (file, words) in [
        (0, "m.onnx: No such file"),
        (1, "external.onnx.data: No such file"),
        (2, "m.toml is gone"),
    ] {
        let (path, kept) = (folder.path().join(FILES[file]), folder.path().join("kept"));
        fs::rename(&path, &kept).unwrap();
        let why = refusal(&mut watcher);
        assert!(why.contains(words), "{why}");
        fs::rename(&kept, &path).unwrap();
        assert_eq!(looks(&mut watcher), Outcome::Back);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        refusal(&mut watcher);
        fs::write(&path, whole).unwrap();
        assert_eq!(looks(&mut watcher), Outcome::Back);
    }
    assert_scores(&watcher, SCORES[0]);
}

#[test]
fn a_link_to_another_folder_swaps_all_files_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // As Kubernetes lays out a ConfigMap.
    for (kind, revision) in [('a', "..1"), ('b', "..2")] {
        install(kind, &at(revision));
    }
    symlink("..1", at("..data")).unwrap();
    for name in FILES {
        symlink(Path::new("..data").join(name), at(name)).unwrap();
    }
    let mut watcher = start(folder.path());
    symlink("..2", at("..next")).unwrap();
    fs::rename(at("..next"), at("..data")).unwrap();
    assert_eq!(looks(&mut watcher), Outcome::Swapped);
    assert_scores(&watcher, SCORES[1]);
}

#[test]
fn a_bundle_is_read_as_it_stood_at_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    install('a', &at("..1"));
    install('b', &at("..2"));
    symlink("..1", at("..data")).unwrap();
    for name in FILES {
        symlink(Path::new("..data").join(name), at(name)).unwrap();
    }
    let done = CancellationToken::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for revision in ["..2", "..1"].iter().cycle() {
                symlink(revision, at("..next")).unwrap();
                fs::rename(at("..next"), at("..data")).unwrap();
                if done.is_cancelled() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let _ends = done.clone().drop_guard();
        let mut whole = 0;
        for _ in 0..20 {
            match load(&at(FILES[0])).map_err(|error| format!("{error:#}")) {
                Ok(_) => whole += 1,
                // Parts of two models would not score their golden row.
                Err(why) => assert!(why.contains("change while they are read"), "{why}"),
            }
        }
        assert!(whole > 0);
    });
}
