//! Checks rules that the compiler does not know: decisions use no clock, no Kafka and no store; files are short; owners are
//! small, keep their fields to themselves and have their methods together.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files that only decide: callers pass in what they found.
const PURE: [&str; 17] = [
    "bounded/ends.rs",
    "bounded/shares.rs",
    "dataset/footer.rs",
    "dataset/names.rs",
    "dataset/offset.rs",
    "dataset/seal.rs",
    "dataset/start.rs",
    "encode/columns/rows.rs",
    "encode/mod.rs",
    "encode/table.rs",
    "encode/json/mod.rs",
    "encode/schema/infer.rs",
    "encode/schema/mod.rs",
    "features/history.rs",
    "features/known.rs",
    "pipeline/batch.rs",
    "worker/memory.rs",
];

/// Names that such a file must not use.
const OUTSIDE: [&str; 8] = [
    "rdkafka",
    "object_store",
    "Consumer",
    "tidemill_core::clock",
    "metrics::",
    "Instant::now",
    "SystemTime",
    "std::fs",
];

/// The most lines of code of a file.
const LINES: usize = 250;

/// The most fields of a struct. Flags and footers are lists by nature.
const FIELDS: usize = 10;
const LISTS: [&str; 4] = ["Flags", "CollectFlags", "Config", "Footer"];

/// Names of fields and parameters that are places in a log, and types of numbers, which those must not have.
const PLACES: [&str; 6] = ["offset", "position", "first", "next", "begin", "end"];
const NUMBERS: [&str; 3] = ["i64", "Option<i64>", "Range<i64>"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap();
    let paths = paths.map(|entry| entry.unwrap().path());
    let files = paths.flat_map(|path| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    });
    files
        .filter(|file| !file.ends_with("tidy.rs") && !file.ends_with("tests.rs"))
        .collect()
}

/// The code of a file, without its tests and comments.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let mut tests = text.match_indices("#[cfg(test)]\n");
    let inline = tests.find(|(at, _)| {
        let item = text[*at..].lines().nth(1);
        item.is_some_and(|item| item.ends_with('{'))
    });
    let code = &text[..inline.map_or(text.len(), |(at, _)| at)];
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The items of a file that begin with one of these words: each with its first line and its body.
fn items<'c>(code: &'c str, words: &[&str]) -> Vec<(&'c str, &'c str)> {
    let starts = code.match_indices('\n').map(|(at, _)| &code[at + 1..]);
    let starts = std::iter::once(code).chain(starts);
    let items = starts.filter_map(|rest| {
        let line = rest.lines().next()?;
        let bare = line.strip_prefix("pub ").unwrap_or(line);
        let bare = match bare.strip_prefix("pub(") {
            Some(scoped) => scoped.split_once(") ")?.1,
            None => bare,
        };
        let begins = words.iter().any(|word| bare.starts_with(word));
        let ends = rest
            .find("\n}")
            .filter(|_| line.ends_with('{') || !line.ends_with(';'));
        begins.then_some((bare, &rest[line.len()..ends?]))
    });
    items.collect()
}

/// The name of the type in `struct Name<..> {` or `impl<..> Trait for Name<..> {`.
fn type_name(line: &str) -> &str {
    let line = line.strip_prefix("struct ").unwrap_or(line);
    let line = match line.strip_prefix("impl") {
        Some(rest) if rest.starts_with('<') => rest.split_once("> ").map_or(rest, |(_, name)| name),
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let end = line.find(|letter: char| !letter.is_alphanumeric());
    &line[..end.unwrap_or(line.len())]
}

#[test]
fn decisions_ask_nobody() {
    for file in PURE {
        let code = code(&source().join(file));
        let asked = OUTSIDE.iter().filter(|outside| code.contains(**outside));
        let asked: Vec<_> = asked.collect();
        assert!(asked.is_empty(), "{file} only decides, but names {asked:?}");
    }
}

#[test]
fn nothing_below_the_loop_imports_it() {
    for file in files(&source()) {
        let above = ["worker", "settings"].map(|folder| source().join(folder));
        let inside =
            above.iter().any(|folder| file.starts_with(folder)) || file.ends_with("run.rs");
        let imports = code(&file).contains("crate::worker");
        assert!(inside || !imports, "{} imports the loop", file.display());
    }
}

#[test]
fn every_file_is_short_and_says_what_it_is_and_no_failure_is_a_bool() {
    for file in files(&source()) {
        let (text, code) = (fs::read_to_string(&file).unwrap(), code(&file));
        let name = file.display();
        assert!(text.starts_with("//! "), "{name} does not say what it is");
        let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
        assert!(lines <= LINES, "{name} has {lines} lines of code");
        assert!(
            !code.contains("Result<bool"),
            "{name}: an enum says it better"
        );
    }
}

#[test]
fn offsets_and_positions_are_no_bare_numbers() {
    for file in files(&source()) {
        let code = code(&file);
        let typed: Vec<&str> = code.split(": ").collect();
        let bare = typed.windows(2).find_map(|pair| {
            let part = |letter: char| letter.is_alphanumeric() || letter == '_';
            let name = pair[0].rsplit(|letter| !part(letter)).next()?;
            let number = NUMBERS.iter().any(|number| pair[1].starts_with(number));
            (PLACES.contains(&name) && number).then_some(name)
        });
        assert_eq!(bare, None, "{}: an Offset says it better", file.display());
    }
}

#[test]
fn owners_are_small_and_keep_their_fields_to_themselves() {
    let (mut structs, mut changed) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
    for file in files(&source()) {
        let (name, code) = (file.display().to_string(), code(&file));
        for (line, body) in items(&code, &["struct "]) {
            let fields = body.lines().filter(|line| {
                let field = line.strip_prefix("    ").unwrap_or_default();
                !field.starts_with([' ', '#', '}']) && field.contains(':')
            });
            let fields: Vec<String> = fields.map(str::to_owned).collect();
            structs.push((name.clone(), type_name(line).to_owned(), fields));
        }
        for (line, body) in items(&code, &["impl"]) {
            if body.contains("&mut self") && !line.contains(" for ") {
                let files = changed.entry(type_name(line).to_owned()).or_default();
                files.push(name.clone());
                files.dedup();
            }
        }
    }
    assert!(structs.len() > 60 && changed.len() > 20, "{changed:?}");
    for (file, name, fields) in &structs {
        let listed = LISTS.contains(&name.as_str());
        assert!(
            listed || fields.len() <= FIELDS,
            "{file}: {name} has {}",
            fields.len()
        );
        let public = fields
            .iter()
            .find(|field| field.trim_start().starts_with("pub"));
        let owner = changed.get(name).is_some_and(|files| files.contains(file));
        assert!(
            !owner || public.is_none(),
            "{file}: {name} shows {public:?}"
        );
    }
    for (name, files) in &changed {
        assert!(files.len() <= 2, "methods of {name} are in {files:?}");
    }
}
