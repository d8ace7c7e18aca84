//! Checks rules that the compiler does not know: decisions use no clock, no Kafka, no Redis; and each word has one
//! meaning.

use std::fs;
use std::path::{Path, PathBuf};

/// Files that only decide: callers pass in what they found.
const PURE: [&str; 13] = [
    "assignment/mod.rs",
    "assignment/partition.rs",
    "assignment/rebuild.rs",
    "assignment/rejects.rs",
    "assignment/resume.rs",
    "batch.rs",
    "engine/apply.rs",
    "engine/tally.rs",
    "rejections.rs",
    "setback.rs",
    "store/position.rs",
    "store/resp.rs",
    "users/codec.rs",
];
/// Names that such a file must not use.
const OUTSIDE: [&str; 8] = [
    "rdkafka",
    "redis::",
    "Consumer",
    "tidemill_core::clock",
    "metrics::",
    "Instant::now",
    "SystemTime",
    "RandomState",
];
/// Words that once had several meanings, and their replacements.
const GONE: [(&str, &str); 7] = [
    ("Fenced", "Lease"),
    ("Step::new", "StoreTransaction"),
    ("enum Known", "UserLookup"),
    ("Touched", "BatchUser"),
    ("Reached", "Progress"),
    ("Result<bool", "an enum that says what was found"),
    ("forever(", "a loop with an end"),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The code of a file, without its tests and comments.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod").next().unwrap_or_default();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn decisions_ask_nobody() {
    for file in PURE {
        let code = code(&source().join(file));
        let asked: Vec<_> = OUTSIDE
            .iter()
            .filter(|outside| code.contains(**outside))
            .collect();
        assert!(asked.is_empty(), "{file} only decides, but names {asked:?}");
    }
}

#[test]
fn nothing_below_the_loop_imports_it() {
    for file in files(&source()) {
        let itself = file.starts_with(source().join("worker"));
        let inside = itself || file.ends_with("run.rs") || file.ends_with("tidy.rs");
        let imports = code(&file).contains("crate::worker");
        assert!(inside || !imports, "{} imports the loop", file.display());
    }
}

#[test]
fn words_have_one_meaning() {
    for file in files(&source())
        .iter()
        .filter(|file| !file.ends_with("tidy.rs"))
    {
        let text = fs::read_to_string(file).unwrap();
        assert!(
            text.starts_with("//! "),
            "{} does not say what it is",
            file.display()
        );
        let code = code(file);
        for (gone, now) in GONE {
            assert!(!code.contains(gone), "{}: {gone} is {now}", file.display());
        }
    }
}
