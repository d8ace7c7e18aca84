//! Plain English: few sentences of comments, help and pages begin with an interrogative.
//!
//! `What fits no column is kept` hides its subject; `Values that fit no column are kept` does not. The flags' comments
//! are the help of the programs.

use std::fs;

use anyhow::Result;

use crate::docs::{files, pages};
use crate::quickstart::checkout;

/// The largest share of such sentences.
const LIMIT: f64 = 0.01;

const INTERROGATIVES: [&str; 10] = [
    "What", "Whatever", "Whether", "How", "Why", "Which", "Who", "Whose", "Whom", "Whoever",
];

/// Begins with an interrogative. `When` and `Where` may begin a clause, and a comma then ends it.
fn is_interrogative(sentence: &str) -> bool {
    let words = sentence.trim_start_matches(|c: char| !c.is_alphanumeric());
    let first = words.split(|c: char| !c.is_alphanumeric()).next();
    let first = first.unwrap_or_default();
    let clause = ["When", "Where"].contains(&first) && !sentence.contains(',');
    clause || INTERROGATIVES.contains(&first)
}

/// The sentences of a paragraph.
fn sentences(paragraph: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut begin = 0;
    for (end, _) in paragraph.match_indices(". ") {
        let rest = &paragraph[end + 2..];
        if rest.starts_with(|c: char| c.is_uppercase() || ['`', '['].contains(&c)) {
            sentences.push(&paragraph[begin..=end]);
            begin = end + 2;
        }
    }
    sentences.push(&paragraph[begin..]);
    sentences.retain(|sentence| sentence.contains(char::is_alphabetic));
    sentences
}

/// Joins lines into paragraphs. An empty line, a list's item and a row of a table begin another one.
fn paragraphs<'l>(lines: impl Iterator<Item = &'l str>) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    let mut code = false;
    for line in lines.map(str::trim) {
        let fence = line.starts_with("```");
        code ^= fence;
        if line.starts_with('|') && !code {
            paragraphs.extend(line.split('|').map(|cell| cell.trim().to_owned()));
        }
        let skipped = line.is_empty() || fence || code || line.starts_with('|');
        if skipped || line.starts_with(['-', '#']) {
            paragraphs.push(String::new());
        }
        if let (false, Some(last)) = (skipped, paragraphs.last_mut()) {
            last.push_str(line.trim_start_matches(['-', '#', ' ']));
            last.push(' ');
        }
    }
    paragraphs
}

/// The paragraphs of a source's doc comments.
fn comments(source: &str) -> Vec<String> {
    let comment = |line: &'_ str| {
        let line = line.trim_start();
        let text = line.strip_prefix("///").or(line.strip_prefix("//!"));
        text.map(str::to_owned).unwrap_or_default()
    };
    let lines: Vec<String> = source.lines().map(comment).collect();
    paragraphs(lines.iter().map(String::as_str))
}

#[test]
fn few_sentences_begin_with_an_interrogative() -> Result<()> {
    let root = checkout()?;
    let (mut all, mut interrogative) = (0, Vec::new());
    let sources = files("crates", "rs")?.into_iter().map(|file| (file, true));
    let pages = pages()?.into_iter().map(|file| (file, false));
    for (file, is_source) in sources.chain(pages) {
        let text = fs::read_to_string(&file)?;
        let paragraphs = match is_source {
            true => comments(&text),
            false => paragraphs(text.lines()),
        };
        for sentence in paragraphs.iter().flat_map(|paragraph| sentences(paragraph)) {
            all += 1;
            if is_interrogative(sentence) {
                let file = file.strip_prefix(&root)?.display();
                interrogative.push(format!("{file}: {sentence}"));
            }
        }
    }
    let share = interrogative.len() as f64 / f64::from(all);
    println!(
        "{} of {all} sentences, {:.2} %",
        interrogative.len(),
        share * 100.0
    );
    assert!(share <= LIMIT, "{interrogative:#?}");
    Ok(())
}

#[test]
fn sentences_are_told_apart() {
    for (sentence, expected) in [
        ("What fits no column is kept.", true),
        ("`What` is a word.", true),
        ("Where it stood", true),
        ("Where no broker answers, others have said so.", false),
        ("Values that fit no column are kept.", false),
    ] {
        assert_eq!(is_interrogative(sentence), expected, "{sentence}");
    }
    let source = "//! One. Two\n//! goes on e.g. here.\n\n/// Three.\nfn f() {} // What?\n";
    let found = comments(source);
    let found: Vec<&str> = found
        .iter()
        .flat_map(|text| sentences(text))
        .map(str::trim)
        .collect();
    assert_eq!(found, ["One.", "Two goes on e.g. here.", "Three."]);
}
