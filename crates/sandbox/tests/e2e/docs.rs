//! The pages say what the code does: whatever a page lists that can be derived from the code is compared with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sandbox::harness::Binaries;
use scorer::features::status::Status;
use tidemill_core::features::Aggregate;

use crate::quickstart::checkout;

type Names = BTreeSet<String>;

/// A file of the project.
fn read(path: &str) -> Result<String> {
    let file = checkout()?.join(path);
    fs::read_to_string(&file).with_context(|| format!("no file {path}"))
}

/// A source file without its tests.
fn source(path: &str) -> Result<String> {
    let text = read(path)?;
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    Ok(code.to_owned())
}

/// The part of a text from `begin` up to `end`.
fn part<'t>(text: &'t str, begin: &str, end: &str) -> Result<&'t str> {
    let rest = text
        .split_once(begin)
        .with_context(|| format!("no {begin:?}"))?;
    let (part, _) = rest
        .1
        .split_once(end)
        .with_context(|| format!("no {end:?}"))?;
    Ok(part)
}

/// The texts in quotes.
fn quoted(code: &str) -> impl Iterator<Item = &str> {
    code.split('"').skip(1).step_by(2)
}

/// The cells of the table below a heading, row by row, without the table's head.
fn rows(page: &str, heading: &str) -> Result<Vec<Vec<String>>> {
    let page = read(page)?;
    let section = page.split_once(heading);
    let (_, section) = section.with_context(|| format!("no {heading:?}"))?;
    let lines = section.lines().skip_while(|line| !line.starts_with('|'));
    let lines = lines.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    Ok(lines.map(cells).collect())
}

/// The names in the first column of the table below a heading; a row may have several.
fn first_column(page: &str, heading: &str) -> Result<Names> {
    let rows = rows(page, heading)?;
    let names = rows.iter().flat_map(|row| code_words(&row[0]));
    Ok(names.collect())
}

/// The words between backticks.
fn code_words(text: &str) -> Vec<String> {
    let words = text.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

fn names<'n>(names: impl IntoIterator<Item = &'n str>) -> Names {
    names.into_iter().map(str::to_owned).collect()
}

/// A page lists the same as the code; else says what to add to it, and what to remove.
fn same<T: Ord + Debug>(page: &str, listed: BTreeSet<T>, known: BTreeSet<T>) {
    let missing: Vec<_> = known.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&known).collect();
    let differs = !missing.is_empty() || !gone.is_empty();
    assert!(
        !differs,
        "{page} lacks {missing:?}, and the code has no {gone:?}"
    );
}

/// All files below a folder of the project whose names end so.
pub(crate) fn files(folder: &str, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![checkout()?.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// A flag in `--help`.
#[derive(Debug, Default)]
struct Flag {
    variable: Option<String>,
    default: Option<String>,
}

fn help(program: &str) -> Result<String> {
    let mut command = Command::new(Binaries::build()?.path(program));
    let command = command.arg("--help").env_clear().env("COLUMNS", "500");
    Ok(String::from_utf8(command.output()?.stdout)?)
}

fn flags(program: &str) -> Result<BTreeMap<String, Flag>> {
    let mut flags = BTreeMap::new();
    let mut last = None;
    for line in help(program)?.lines().map(str::trim) {
        if let Some(at) = line.find("--").filter(|_| line.starts_with('-')) {
            let name = line[at..].split(' ').next().unwrap_or_default();
            last = Some(name.to_owned());
            flags.insert(name.to_owned(), Flag::default());
        }
        let Some(flag) = last.as_ref().and_then(|name| flags.get_mut(name)) else {
            continue;
        };
        if let Some(variable) = line.strip_prefix("[env: ") {
            let end = variable.find(['=', ']']).context("an open bracket")?;
            flag.variable = Some(variable[..end].to_owned());
        }
        if let Some(default) = line.strip_prefix("[default: ") {
            flag.default = Some(default.trim_end_matches(']').to_owned());
        }
    }
    flags.remove("--help");
    flags.remove("--version");
    Ok(flags)
}

#[test]
fn flags_variables_and_defaults_are_those_of_help() -> Result<()> {
    const PAGE: &str = "docs/reference/configuration.md";
    let shared = rows(PAGE, "## All three programs")?;
    for (index, program) in ["featurizer", "scorer", "collector"].iter().enumerate() {
        let flags = flags(program)?;
        let own = rows(PAGE, &format!("## {program}\n"))?;
        let rows: Vec<_> = shared.iter().chain(&own).collect();
        let documented: Names = rows.iter().flat_map(|row| code_words(&row[0])).collect();
        let known: Names = flags.keys().cloned().collect();
        same(program, documented, known);
        for row in rows {
            let flag = &flags[&code_words(&row[0])[0]];
            let variable = code_words(&row[1]).into_iter().next();
            assert_eq!(variable, flag.variable, "{program} {row:?}");
            let Some(default) = flag.default.as_deref() else {
                continue;
            };
            let told = code_words(&row[2]);
            let told = match told.len() {
                3 => told.get(index),
                _ => told.first(),
            };
            let told = told.map_or("\"\"", String::as_str);
            assert_eq!(told, default, "{program} {row:?}");
        }
    }
    Ok(())
}

#[test]
fn commands_are_those_of_help() -> Result<()> {
    let page = read("docs/reference/commands.md")?;
    for program in ["featurizer", "scorer", "collector", "sandbox"] {
        let help = help(program)?;
        let lines = part(&help, "Commands:\n", "\n\n")?.lines();
        for command in lines.filter_map(|line| line.split_whitespace().next()) {
            let named = page.contains(&format!("`{program} {command}"));
            let everywhere = ["completions", "help"].contains(&command);
            assert!(named || everywhere, "{program} {command}");
        }
    }
    Ok(())
}

#[test]
fn features_toml_has_the_aggregates_and_keys_of_the_code() -> Result<()> {
    const PAGE: &str = "docs/reference/features-toml.md";
    let known = Aggregate::ALL.map(Aggregate::name);
    same(PAGE, first_column(PAGE, "## Aggregates")?, names(known));
    for row in rows(PAGE, "## Aggregates")? {
        let named = |known: &Aggregate| format!("`{}`", known.name()) == row[0];
        let aggregate = Aggregate::ALL.into_iter().find(named).context("one")?;
        assert_eq!(row[2] != "none", aggregate.takes_field(), "{row:?}");
        let optional = aggregate.may_go_without_window();
        assert_eq!(row[3] == "optional", optional, "{row:?}");
    }
    let parse = source("crates/core/src/features/parse.rs")?;
    let keys = part(&parse, "&table,\n        &[", "]")?;
    same(
        PAGE,
        first_column(PAGE, "## Keys of the file")?,
        names(quoted(keys)),
    );
    let keys = part(&parse, "let known = [", "]")?;
    let documented = rows(PAGE, "## Keys of a feature")?;
    let documented: Names = documented
        .iter()
        .map(|row| row[0].replace('`', ""))
        .collect();
    same(PAGE, documented, names(quoted(keys)));
    Ok(())
}

#[test]
fn the_manifest_has_the_keys_of_the_code() -> Result<()> {
    let code = source("crates/scorer/src/model/manifest_toml.rs")?;
    let lists: Vec<&str> = code.split(".only(&[").skip(1).collect();
    let mut known = Names::new();
    for (list, prefix) in lists.iter().zip(["", "output.", "input.", "golden."]) {
        let (list, _) = list.split_once(']').context("an open list")?;
        known.extend(quoted(list).map(|key| format!("{prefix}{key}")));
    }
    for table in ["output", "input", "golden"] {
        assert!(known.remove(table));
    }
    const PAGE: &str = "docs/reference/manifest.md";
    same(PAGE, first_column(PAGE, "score = 0.9132\n```")?, known);
    Ok(())
}

#[test]
fn records_have_the_reasons_statuses_and_fields_of_the_code() -> Result<()> {
    const PAGE: &str = "docs/reference/records.md";
    let code = source("crates/core/src/record/reject.rs")?;
    let codes = part(&code, "pub fn code(", "\n    }\n}")?;
    same(
        PAGE,
        first_column(PAGE, "tell doubles.")?,
        names(quoted(codes)),
    );
    let statuses = Status::ALL.map(Status::name);
    same(PAGE, first_column(PAGE, "`scored` |")?, names(statuses));
    let code = source("crates/scorer/src/output/prediction.rs")?;
    let page = read(PAGE)?;
    for field in code.split("\\\"").filter(|word| !word.is_empty()) {
        let is_name = field
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(
            !is_name || page.contains(&format!("\"{field}\"")),
            "{field}"
        );
    }
    let code = source("crates/core/src/kafka/dead_letter.rs")?
        + &source("crates/core/src/record/resent.rs")?;
    let headers = first_column(PAGE, "these headers follow:")?;
    for header in quoted(&code).filter(|text| text.starts_with("source.")) {
        assert!(headers.contains(header), "{header}");
    }
    Ok(())
}

#[test]
fn redis_keys_and_positions_are_those_of_the_code() -> Result<()> {
    const PAGE: &str = "docs/reference/redis-keys.md";
    let code = source("crates/featurizer/src/store/keys.rs")?;
    let keys = quoted(&code).filter_map(|name| name.strip_prefix("{}"));
    let stem = |key: &str| key.split(':').next().unwrap_or_default().to_owned();
    let known: Names = keys.map(stem).collect();
    let documented = first_column(PAGE, "empty by default.")?;
    let documented = documented.iter().map(|key| stem(key));
    same(PAGE, documented.collect(), known);
    let code = source("crates/featurizer/src/store/transaction.rs")?;
    let marks = quoted(&code).filter(|text| text.starts_with('_'));
    let documented = first_column(PAGE, "## Fields of")?;
    same(PAGE, documented, names(marks));
    let code = source("crates/featurizer/src/store/position.rs")?;
    let fields = part(&code, "const FIELDS: [&str; ", "];")?;
    same(
        PAGE,
        first_column(PAGE, "## Position")?,
        names(quoted(fields)),
    );
    Ok(())
}

#[test]
fn data_sets_have_the_footer_rejects_and_schema_types_of_the_code() -> Result<()> {
    const PAGE: &str = "docs/reference/data-set.md";
    let code = source("crates/collector/src/dataset/footer.rs")?;
    let keys = part(&code, "fn to_key_values", "\n    }\n")?;
    let is_name = |key: &&str| {
        key.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let mut known: Names = quoted(keys)
        .filter(is_name)
        .map(|key| format!("tidemill.{key}"))
        .collect();
    known.extend(["tidemill.json".into(), "tidemill.digest".into()]);
    same(PAGE, first_column(PAGE, "## Footer of a data file")?, known);
    let code = source("crates/collector/src/dataset/rejects.rs")?;
    let line = part(&code, "pub struct Line {", "\n}")?;
    let fields = line
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub "));
    let fields = fields.filter_map(|field| field.split(':').next());
    same(
        PAGE,
        first_column(PAGE, "is a JSON object:")?,
        names(fields),
    );
    let code = source("crates/collector/src/encode/schema/mod.rs")?;
    let kinds = part(&code, "pub(crate) enum Kind {", "\n}")?;
    let kinds = kinds
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("///"));
    let kinds = kinds.filter(|line| !line.is_empty());
    let kinds: Names = kinds
        .map(|line| {
            line.split(['(', ','])
                .next()
                .unwrap_or_default()
                .to_lowercase()
        })
        .collect();
    let documented = first_column("docs/reference/schema-json.md", "leave it out |")?;
    let bare = |text: &String| {
        text.trim_start_matches("{\"")
            .split('"')
            .next()
            .map(str::to_owned)
    };
    let documented = documented.iter().filter_map(bare).collect();
    same("docs/reference/schema-json.md", documented, kinds);
    Ok(())
}

#[test]
fn metrics_are_those_of_the_code() -> Result<()> {
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (of, path) in [
        ("all", "crates/core/src/metric.rs"),
        ("featurizer", "crates/featurizer/src/metrics.rs"),
        ("scorer", "crates/scorer/src/metrics.rs"),
        ("collector", "crates/collector/src/settings/metrics.rs"),
    ] {
        let code = source(path)?;
        for metric in code.split("Metric::").skip(1) {
            let Some((kind, rest)) = metric.split_once('(') else {
                continue;
            };
            let texts: Vec<&str> = quoted(rest.split("),\n").next().unwrap_or_default()).collect();
            let [name, labels @ .., meaning] = texts.as_slice() else {
                continue;
            };
            if !name.starts_with("tidemill_") {
                continue;
            }
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            let row = known.entry((*name).to_owned()).or_insert_with(|| {
                vec![
                    String::new(),
                    kind.to_owned(),
                    labels.join(", "),
                    (*meaning).to_owned(),
                ]
            });
            row[0] = match row[0].as_str() {
                "" => of.to_owned(),
                others => format!("{others}, {of}"),
            };
        }
    }
    const PAGE: &str = "docs/reference/metrics.md";
    let documented = rows(PAGE, "are there from the start")?;
    let documented = documented
        .into_iter()
        .map(|row| (row[0].replace('`', ""), row[1..].to_vec()))
        .collect();
    let known = known.into_iter();
    same(PAGE, documented, known.collect());
    Ok(())
}

#[test]
fn alerts_exit_codes_and_checks_of_the_doctor_are_those_of_the_code() -> Result<()> {
    let rules = read("ops/alerts.yaml")?;
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    const ALERTS: &str = "docs/howto/alerts.md";
    same(ALERTS, first_column(ALERTS, "first step")?, names(alerts));

    let code = source("crates/core/src/exit.rs")?;
    let codes = part(&code, "pub enum Code {", "\n}")?;
    let codes = codes.lines().filter_map(|line| line.split_once(" = "));
    let mut known: Names = codes
        .map(|(_, code)| code.trim_end_matches(',').to_owned())
        .collect();
    known.insert("0".into());
    let documented = rows("docs/reference/exit-codes.md", "# Exit codes")?;
    let documented = documented.into_iter().map(|row| row[0].clone());
    same("docs/reference/exit-codes.md", documented.collect(), known);

    let mut known = Names::new();
    let core = files("crates/core/src/doctor", "rs")?;
    let own = ["featurizer", "scorer", "collector"]
        .map(|program| files(&format!("crates/{program}/src/commands"), "rs"));
    let own: Vec<PathBuf> = own.into_iter().collect::<Result<Vec<_>>>()?.concat();
    let own = own
        .into_iter()
        .filter(|file| file.to_string_lossy().contains("doctor"));
    for file in core.into_iter().chain(own) {
        let text = fs::read_to_string(file)?;
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for call in [".ok(", ".warning(", ".problem("] {
            let calls = code.split(call).skip(1).map(str::trim_start);
            let names = calls.filter_map(|rest| rest.strip_prefix('"')?.split('"').next());
            known.extend(names.map(str::to_owned));
        }
    }
    const DOCTOR: &str = "docs/reference/doctor.md";
    same(DOCTOR, first_column(DOCTOR, "# The doctor")?, known);
    Ok(())
}

#[test]
fn every_promise_has_a_test() -> Result<()> {
    let page = read("docs/guarantees.md")?;
    let promises = page.lines().filter(|line| line.contains(".rs`: `"));
    for row in promises {
        let cell = row
            .split('|')
            .find(|cell| cell.contains(".rs`: `"))
            .context("a cell")?;
        let words = code_words(cell);
        let (file, tests) = words.split_first().context("a file")?;
        let code = read(&format!("crates/sandbox/tests/e2e/{file}"))?;
        for test in tests {
            let head = format!("#[test]\nfn {test}(");
            assert!(code.contains(&head), "{file} has no test {test}");
        }
    }
    Ok(())
}

/// The pages that link to others.
pub(crate) fn pages() -> Result<Vec<PathBuf>> {
    let root = checkout()?;
    let own = [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "models/README.md",
    ];
    let mut pages: Vec<PathBuf> = own.iter().map(|page| root.join(page)).collect();
    pages.extend(files("docs", "md")?);
    pages.extend(files("examples", "md")?);
    Ok(pages)
}

/// The name by which a link reaches a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_somewhere_and_the_book_has_every_page() -> Result<()> {
    for page in pages()? {
        let text = fs::read_to_string(&page)?;
        let folder = page.parent().context("a folder")?;
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            if link.starts_with("http") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.clone(),
                path => folder.join(path),
            };
            let name = page.display();
            assert!(target.exists(), "{name}: no {link}");
            if !heading.is_empty() {
                let text = fs::read_to_string(&target)?;
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| anchor(line) == heading),
                    "{name}: no {link}"
                );
            }
        }
    }
    let summary = read("docs/SUMMARY.md")?;
    let docs = checkout()?.join("docs");
    for page in files("docs", "md")? {
        let path = page.strip_prefix(&docs)?;
        let listed = summary.contains(&format!("]({})", path.display()));
        assert!(
            listed || path == Path::new("SUMMARY.md"),
            "{}",
            path.display()
        );
    }
    Ok(())
}

#[test]
fn the_readme_and_the_glossary_are_short() -> Result<()> {
    let lines = read("README.md")?.lines().count();
    assert!(lines <= 150, "{lines} lines of README.md");
    let words = rows("docs/development/glossary.md", "# Glossary")?.len();
    assert!(words <= 25, "{words} words");
    Ok(())
}
