//! Reads a manifest's TOML, and names every problem in it by field and line.

use std::ops::Range;

use serde_json::to_string as quoted;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::manifest::{Golden, Input, Manifest, Output, Source, Transform, default_inputs};

/// Reads a manifest.
///
/// # Errors
///
/// All problems at once, each with its line and field.
pub(super) fn parse(text: &str) -> Result<Manifest, Vec<String>> {
    let mut problems = Problems {
        text,
        found: Vec::new(),
    };
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        problems.add(error.span().unwrap_or(0..0), "manifest", error.message());
    }
    let manifest = problems
        .found
        .is_empty()
        .then(|| read(root.get_ref(), &mut problems));
    match manifest {
        Some(manifest) if problems.found.is_empty() => Ok(manifest),
        _ => Err(problems.found),
    }
}

type Table<'t> = DeTable<'t>;

/// The problems found so far; lines are counted when one is added.
struct Problems<'t> {
    text: &'t str,
    found: Vec<String>,
}

impl Problems<'_> {
    fn add(&mut self, at: Range<usize>, field: &str, what: &str) {
        let before = self.text.as_bytes().iter().take(at.start);
        let line = 1 + before.filter(|&&byte| byte == b'\n').count();
        self.found.push(format!("line {line}: {field}: {what}"));
    }
}

fn read(root: &Table<'_>, problems: &mut Problems<'_>) -> Manifest {
    known(
        root,
        "",
        &["threshold", "output", "input", "golden"],
        problems,
    );
    let threshold = number(root, "", "threshold", problems).unwrap_or(Manifest::THRESHOLD);
    let output = match table(root, "output", problems) {
        Some(found) => read_output(found, problems),
        None => Output::default(),
    };
    let mut inputs: Vec<Input> = Vec::new();
    for (field, found) in tables(root, "input", problems) {
        if let Some(input) = read_input(&found, &field, problems) {
            if inputs.iter().any(|other| other.name == input.name) {
                let what = format!(
                    "{} is listed twice",
                    quoted(&input.name).unwrap_or_default()
                );
                problems.add(found.span(), &format!("{field}.name"), &what);
            }
            inputs.push(input);
        }
    }
    if inputs.is_empty() {
        inputs = default_inputs();
    }
    let golden = tables(root, "golden", problems)
        .into_iter()
        .filter_map(|(field, found)| read_golden(&found, &field, inputs.len(), problems))
        .collect();
    Manifest {
        threshold,
        output,
        inputs,
        golden,
    }
}

fn read_output(found: &Table<'_>, problems: &mut Problems<'_>) -> Output {
    known(found, "output.", &["name", "index", "transform"], problems);
    let name = string(found, "output.", "name", problems);
    let index = number(found, "output.", "index", problems).and_then(|index| {
        let whole = index >= 0.0 && index.fract() == 0.0;
        if !whole {
            let what = "must be a whole number from 0";
            problems.add(span(found, "index"), "output.index", what);
        }
        whole.then_some(index as usize)
    });
    let transform = match string(found, "output.", "transform", problems).as_deref() {
        None | Some("none") => Transform::None,
        Some("sigmoid") => Transform::Sigmoid,
        Some(other) => {
            let what = format!("{other:?} is neither \"none\" nor \"sigmoid\"");
            problems.add(span(found, "transform"), "output.transform", &what);
            Transform::None
        }
    };
    Output {
        name,
        index,
        transform,
    }
}

fn read_input(
    found: &Spanned<Table<'_>>,
    field: &str,
    problems: &mut Problems<'_>,
) -> Option<Input> {
    let (at, found) = (found.span(), found.get_ref());
    let prefix = format!("{field}.");
    known(
        found,
        &prefix,
        &["name", "from", "default", "max_stale_s"],
        problems,
    );
    let from = match string(found, &prefix, "from", problems).as_deref() {
        None | Some("event") => Source::Event,
        Some("features") => Source::Features,
        Some(other) => {
            let what = format!("{other:?} is neither \"event\" nor \"features\"");
            problems.add(span(found, "from"), &format!("{prefix}from"), &what);
            Source::Event
        }
    };
    let default = float(found, &prefix, "default", problems);
    if default.is_some_and(f64::is_infinite) {
        problems.add(
            span(found, "default"),
            &format!("{prefix}default"),
            "must not be infinite",
        );
    }
    let max_stale_ms = number(found, &prefix, "max_stale_s", problems).map(|seconds| {
        if seconds < 0.0 {
            let what = "must not be negative";
            problems.add(
                span(found, "max_stale_s"),
                &format!("{prefix}max_stale_s"),
                what,
            );
        } else if from == Source::Event {
            let what = "only an input with from = \"features\" can be stale";
            problems.add(
                span(found, "max_stale_s"),
                &format!("{prefix}max_stale_s"),
                what,
            );
        }
        (seconds * 1000.0) as i64
    });
    let name = string(found, &prefix, "name", problems);
    if found.get("name").is_none() || name.as_deref() == Some("") {
        problems.add(
            at,
            &format!("{prefix}name"),
            "is missing: the field's or feature's name",
        );
    }
    Some(Input {
        name: name?,
        from,
        default,
        max_stale_ms,
    })
}

fn read_golden(
    found: &Spanned<Table<'_>>,
    field: &str,
    inputs: usize,
    problems: &mut Problems<'_>,
) -> Option<Golden> {
    let (at, found) = (found.span(), found.get_ref());
    let prefix = format!("{field}.");
    known(found, &prefix, &["input", "score"], problems);
    let score = number(found, &prefix, "score", problems);
    if found.get("score").is_none() {
        problems.add(
            at.clone(),
            &format!("{prefix}score"),
            "is missing: the known score",
        );
    }
    let values = match found.get("input").map(Spanned::get_ref) {
        Some(DeValue::Array(values)) => values.iter().map(|v| as_float(v.get_ref())).collect(),
        _ => None::<Vec<f64>>,
    };
    match &values {
        Some(values) if values.len() == inputs => {}
        Some(values) => {
            let what = format!(
                "has {} numbers, the model has {inputs} inputs",
                values.len()
            );
            problems.add(span(found, "input"), &format!("{prefix}input"), &what);
        }
        None => {
            let at = if found.contains_key("input") {
                span(found, "input")
            } else {
                at
            };
            let what = format!("must be an array of {inputs} numbers");
            problems.add(at, &format!("{prefix}input"), &what);
        }
    }
    Some(Golden {
        input: values?,
        score: score?,
    })
}

/// Complains about keys that mean nothing: a misspelt option must not be ignored.
fn known(table: &Table<'_>, prefix: &str, names: &[&str], problems: &mut Problems<'_>) {
    for (key, _) in table.iter() {
        if !names.contains(&key.get_ref().as_ref()) {
            let what = format!("is not known here; known are {}", names.join(", "));
            problems.add(key.span(), &format!("{prefix}{}", key.get_ref()), &what);
        }
    }
}

fn span(table: &Table<'_>, key: &str) -> Range<usize> {
    table.get(key).map_or(0..0, Spanned::span)
}

fn string(
    table: &Table<'_>,
    prefix: &str,
    key: &str,
    problems: &mut Problems<'_>,
) -> Option<String> {
    match table.get(key)?.get_ref() {
        DeValue::String(text) => Some(text.clone().into_owned()),
        _ => {
            problems.add(
                span(table, key),
                &format!("{prefix}{key}"),
                "must be a text in quotes",
            );
            None
        }
    }
}

/// A number that may be `nan`.
fn float(table: &Table<'_>, prefix: &str, key: &str, problems: &mut Problems<'_>) -> Option<f64> {
    let value = as_float(table.get(key)?.get_ref());
    if value.is_none() {
        problems.add(
            span(table, key),
            &format!("{prefix}{key}"),
            "must be a number",
        );
    }
    value
}

fn number(table: &Table<'_>, prefix: &str, key: &str, problems: &mut Problems<'_>) -> Option<f64> {
    let value = float(table, prefix, key, problems)?;
    if !value.is_finite() {
        problems.add(
            span(table, key),
            &format!("{prefix}{key}"),
            "must be a finite number",
        );
        return None;
    }
    Some(value)
}

fn as_float(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(float) => float.as_str().parse().ok(),
        DeValue::Integer(whole) => i64::from_str_radix(whole.as_str(), whole.radix())
            .ok()
            .map(|whole| whole as f64),
        _ => None,
    }
}

fn table<'t>(root: &'t Table<'t>, key: &str, problems: &mut Problems<'_>) -> Option<&'t Table<'t>> {
    match root.get(key)?.get_ref() {
        DeValue::Table(found) => Some(found),
        _ => {
            problems.add(span(root, key), key, &format!("must be a table: [{key}]"));
            None
        }
    }
}

/// The tables of `[[key]]`, each with the name its fields go by in a problem.
fn tables<'t>(
    root: &Table<'t>,
    key: &str,
    problems: &mut Problems<'_>,
) -> Vec<(String, Spanned<Table<'t>>)> {
    let Some(value) = root.get(key) else {
        return Vec::new();
    };
    let wrong = format!("must be written [[{key}]]");
    let DeValue::Array(found) = value.get_ref() else {
        problems.add(value.span(), key, &wrong);
        return Vec::new();
    };
    let mut tables = Vec::new();
    for (index, value) in found.iter().enumerate() {
        match value.get_ref() {
            DeValue::Table(table) => {
                let name = format!("{key}[{index}]");
                tables.push((name, Spanned::new(value.span(), table.clone())));
            }
            _ => problems.add(value.span(), key, &wrong),
        }
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_manifest_is_read() {
        let text = r#"
threshold = 0.5
[output]
name = "probabilities"
index = 1
transform = "sigmoid"
[[input]]
name = "amount"
[[input]]
name = "purchase_count_24h"
from = "features"
default = 0
max_stale_s = 3600
[[input]]
name = "age"
default = nan
[[golden]]
input = [120.5, 3, 1]
score = 0.9132
"#;
        let manifest = parse(text).unwrap();
        assert_eq!(manifest.threshold, 0.5);
        assert_eq!(manifest.output.name.as_deref(), Some("probabilities"));
        assert_eq!(manifest.output.index, Some(1));
        assert_eq!(manifest.output.transform, Transform::Sigmoid);
        let names: Vec<&str> = manifest
            .inputs
            .iter()
            .map(|input| input.name.as_str())
            .collect();
        assert_eq!(names, ["amount", "purchase_count_24h", "age"]);
        assert_eq!(manifest.inputs[0].default, None);
        let feature = &manifest.inputs[1];
        assert_eq!(
            (feature.from, feature.default),
            (Source::Features, Some(0.0))
        );
        assert_eq!(feature.max_stale_ms, Some(3_600_000));
        assert!(manifest.inputs[2].default.unwrap().is_nan());
        assert_eq!(manifest.golden[0].input, [120.5, 3.0, 1.0]);
        assert!(manifest.reads_features());
    }

    #[test]
    fn an_empty_manifest_is_the_default() {
        assert_eq!(parse("").unwrap(), Manifest::default());
        assert_eq!(Manifest::default().inputs.len(), 4);
    }

    #[test]
    fn every_problem_is_named_with_its_line_and_field() {
        let text = r#"threshold = "high"
colour = 1
[output]
index = 1.5
transform = "softmax"
[[input]]
name = "amount"
from = "redis"
max_stale_s = 5
[[input]]
default = inf
[[golden]]
input = [1]
"#;
        let problems = parse(text).unwrap_err();
        for expected in [
            "line 1: threshold: must be a number",
            "line 2: colour: is not known here",
            "line 4: output.index: must be a whole number",
            "line 5: output.transform: \"softmax\" is neither",
            "line 8: input[0].from: \"redis\" is neither",
            "line 9: input[0].max_stale_s: only an input with from = \"features\"",
            "line 10: input[1].name: is missing",
            "line 11: input[1].default: must not be infinite",
            "line 12: golden[0].score: is missing",
        ] {
            let told = problems.iter().any(|problem| problem.starts_with(expected));
            assert!(told, "{expected} is not in {problems:#?}");
        }
        assert!(
            parse("[[golden]]\ninput = [1, 2]\nscore = 1").unwrap_err()[0].contains("4 inputs")
        );
        let twice = "[[input]]\nname = \"a\"\n[[input]]\nname = \"a\"";
        assert!(parse(twice).unwrap_err()[0].contains("\"a\" is listed twice"));
    }

    #[test]
    fn broken_toml_is_told_with_its_line() {
        let problems = parse("threshold = 0.5\n[output\n").unwrap_err();
        assert!(
            problems[0].starts_with("line 2: manifest: "),
            "{problems:?}"
        );
    }
}
