//! Reads a manifest's TOML, and names every problem in it by field and line.

use toml::de::DeTable;

use super::manifest::{Golden, Input, Manifest, Output, Source, Transform, default_inputs};
use super::toml_fields::{Fields, Problems};

/// Reads a manifest.
///
/// # Errors
///
/// All problems at once, each with its line and field.
pub(super) fn parse(text: &str) -> Result<Manifest, Vec<String>> {
    let mut problems = Problems::of(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        problems.add(error.span().unwrap_or(0..0), "manifest", error.message());
    }
    let whole = problems.is_empty();
    let manifest = whole.then(|| read(&Fields::root(&root), &mut problems));
    match manifest {
        Some(manifest) if problems.is_empty() => Ok(manifest),
        _ => Err(problems.in_order()),
    }
}

fn read(root: &Fields<'_, '_>, problems: &mut Problems<'_>) -> Manifest {
    root.only(&["threshold", "output", "input", "golden"], problems);
    let threshold = root.number("threshold", problems);
    let output = root.table("output", problems);
    let output = output.map(|found| read_output(&found, problems));
    let mut inputs: Vec<Input> = Vec::new();
    for found in root.tables("input", problems) {
        if let Some(input) = read_input(&found, problems) {
            if inputs.iter().any(|other| other.name == input.name) {
                let what = format!("{:?} is listed twice", input.name);
                found.wrong("name", &what, problems);
            }
            inputs.push(input);
        }
    }
    if inputs.is_empty() {
        inputs = default_inputs();
    }
    let golden = root.tables("golden", problems);
    let golden = golden
        .iter()
        .filter_map(|found| read_golden(found, inputs.len(), problems))
        .collect();
    Manifest {
        threshold: threshold.unwrap_or(Manifest::THRESHOLD),
        output: output.unwrap_or_default(),
        inputs,
        golden,
    }
}

fn read_output(found: &Fields<'_, '_>, problems: &mut Problems<'_>) -> Output {
    found.only(&["name", "index", "transform", "lower_is_worse"], problems);
    let name = found.string("name", problems);
    let index = found.number("index", problems).and_then(|index| {
        let whole = index >= 0.0 && index.fract() == 0.0;
        if !whole {
            found.wrong("index", "must be a whole number from 0", problems);
        }
        whole.then_some(index as usize)
    });
    let transform = match found.string("transform", problems).as_deref() {
        None | Some("none") => Transform::None,
        Some("sigmoid") => Transform::Sigmoid,
        Some(other) => {
            let what = format!("{other:?} is neither \"none\" nor \"sigmoid\"");
            found.wrong("transform", &what, problems);
            Transform::None
        }
    };
    Output {
        name,
        index,
        transform,
        lower_is_worse: found.truth("lower_is_worse", problems).unwrap_or(false),
    }
}

fn read_input(found: &Fields<'_, '_>, problems: &mut Problems<'_>) -> Option<Input> {
    found.only(&["name", "from", "default", "max_stale_s"], problems);
    let from = match found.string("from", problems).as_deref() {
        None | Some("event") => Source::Event,
        Some("features") => Source::Features,
        Some(other) => {
            let what = format!("{other:?} is neither \"event\" nor \"features\"");
            found.wrong("from", &what, problems);
            Source::Event
        }
    };
    let default = found.float("default", problems);
    if default.is_some_and(f64::is_infinite) {
        found.wrong("default", "must not be infinite", problems);
    }
    let max_stale_ms = found.number("max_stale_s", problems).map(|seconds| {
        if seconds < 0.0 {
            found.wrong("max_stale_s", "must not be negative", problems);
        } else if from == Source::Event {
            let what = "only an input with from = \"features\" can be stale";
            found.wrong("max_stale_s", what, problems);
        }
        (seconds * 1000.0) as i64
    });
    let name = found.string("name", problems);
    if !found.has("name") || name.as_deref() == Some("") {
        let what = "is missing: the field's or feature's name";
        found.wrong("name", what, problems);
    }
    Some(Input {
        name: name?,
        from,
        default,
        max_stale_ms,
    })
}

fn read_golden(
    found: &Fields<'_, '_>,
    inputs: usize,
    problems: &mut Problems<'_>,
) -> Option<Golden> {
    found.only(&["input", "score"], problems);
    let score = found.number("score", problems);
    if !found.has("score") {
        found.wrong("score", "is missing: the known score", problems);
    }
    let input = found.floats("input");
    match &input {
        Some(values) if values.len() == inputs => {}
        Some(values) => {
            let count = values.len();
            let what = format!("has {count} numbers, the model has {inputs} inputs");
            found.wrong("input", &what, problems);
        }
        None => {
            let what = format!("must be an array of {inputs} numbers");
            found.wrong("input", &what, problems);
        }
    }
    Some(Golden {
        input: input?,
        score: score?,
    })
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
lower_is_worse = true
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
        assert!(manifest.output.lower_is_worse);
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
lower_is_worse = "yes"
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
            "line 2: colour: is unknown: remove it or write one of ",
            "line 4: output.index: must be a whole number",
            "line 5: output.transform: \"softmax\" is neither",
            "line 6: output.lower_is_worse: must be true or false",
            "line 9: input[0].from: \"redis\" is neither",
            "line 10: input[0].max_stale_s: only an input with from = \"features\"",
            "line 11: input[1].name: is missing",
            "line 12: input[1].default: must not be infinite",
            "line 13: golden[0].score: is missing",
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
