//! Finds settings of the manifest and scores that work, but can hardly be meant. Pure.

use crate::model::{Manifest, Picked, Place, Source};

/// Least and most of some scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Range {
    /// The range of those that are finite.
    pub(super) fn of(scores: &[f64]) -> Option<Self> {
        let mut finite = scores.iter().copied().filter(|score| score.is_finite());
        let first = finite.next()?;
        let start = Range {
            least: first,
            most: first,
        };
        Some(finite.fold(start, |range, score| Range {
            least: range.least.min(score),
            most: range.most.max(score),
        }))
    }
}

/// Warnings that the manifest alone gives; `there`: there is one.
pub(super) fn of_manifest(manifest: &Manifest, there: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if !there {
        warnings.push("there is no manifest: the four default inputs are assumed".to_owned());
    }
    if manifest.golden.is_empty() {
        let what =
            "no golden vectors: a wrong model or column order would go unnoticed; add [[golden]]";
        warnings.push(what.to_owned());
    }
    for input in &manifest.inputs {
        if input.from == Source::Features && input.default.is_none() {
            let name = &input.name;
            warnings.push(format!(
                "feature {name} has no default: where it is missing, 0 is used"
            ));
        }
    }
    warnings
}

/// Warnings about inputs that the model does not take as they come.
pub(super) fn of_places(manifest: &Manifest, places: &[Place]) -> Vec<String> {
    let pairs = manifest.inputs.iter().zip(places);
    let missing = pairs.filter(|(input, place)| {
        place.whole && place.used && input.default.is_some_and(|default| default.fract() != 0.0)
    });
    missing
        .map(|(input, place)| {
            format!(
                "{} has a default that is no whole number, and tensor {:?} takes whole numbers alone: each payment \
                 without it is a dead letter; export the model with float inputs",
                input.name, place.tensor
            )
        })
        .collect()
}

/// Warnings about which number is taken for the score.
pub(super) fn of_class(manifest: &Manifest, picked: &Picked) -> Vec<String> {
    let chosen = manifest.output.index.is_some();
    let class = picked.classes.get(picked.element);
    let doubt = match class {
        Some(class) if !is_fraud(class) => {
            let other = picked.classes.iter().any(|class| is_fraud(class));
            (other || !chosen).then(|| format!("element {} is class {class:?}", picked.element))
        }
        None if picked.elements > 2 && !chosen => {
            Some(format!("the last of {} elements is taken", picked.elements))
        }
        _ => None,
    };
    let classes = match picked.classes.as_slice() {
        [] => String::new(),
        classes => format!(" of {}", classes.join(", ")),
    };
    let warning = doubt.map(|doubt| {
        format!("which class is fraud is not obvious: {doubt}{classes}; set output.index to the fraud's element")
    });
    warning.into_iter().collect()
}

fn is_fraud(class: &str) -> bool {
    let class = class.to_lowercase();
    class == "1" || class == "true" || class == "yes" || class.contains("fraud")
}

/// Warnings about the scores seen.
pub(super) fn of_scores(manifest: &Manifest, seen: Range) -> Vec<String> {
    let Range { least, most } = seen;
    let threshold = manifest.threshold;
    let mut warnings = Vec::new();
    if most <= threshold {
        let percent = if threshold > 1.0 && most <= 1.0 {
            "; is the threshold meant in percent?"
        } else {
            ""
        };
        warnings.push(format!(
            "no score seen is above the threshold {threshold}: nothing would be a fraud{percent}"
        ));
    }
    if least > threshold {
        warnings.push(format!(
            "every score seen is above the threshold {threshold}: everything would be a fraud"
        ));
    }
    if least < 0.0 || most > 1.0 {
        warnings.push(
            "scores lie beyond 0 to 1, so they are no probabilities: for raw margins set output.transform = \
             \"sigmoid\"; where lower is worse, as of isolation forests, output.lower_is_worse = true"
                .to_owned(),
        );
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Output;

    fn picked(element: usize, classes: &[&str], elements: usize) -> Picked {
        Picked {
            output: "probabilities".to_owned(),
            element,
            elements,
            classes: classes.iter().map(|class| (*class).to_owned()).collect(),
        }
    }

    fn class(index: Option<usize>, picked: &Picked) -> usize {
        let output = Output {
            index,
            ..Output::default()
        };
        let manifest = Manifest {
            output,
            ..Manifest::default()
        };
        of_class(&manifest, picked).len()
    }

    #[test]
    fn a_class_that_is_hardly_the_fraud_is_warned_of() {
        assert_eq!(class(None, &picked(1, &["fraud", "ok"], 2)), 1);
        assert_eq!(class(Some(1), &picked(1, &["fraud", "ok"], 2)), 1);
        assert_eq!(class(Some(0), &picked(0, &["fraud", "ok"], 2)), 0);
        assert_eq!(class(None, &picked(1, &["0", "1"], 2)), 0);
        assert_eq!(class(None, &picked(2, &["0", "1", "2"], 3)), 1);
        // Somebody said so, and no class has the better name.
        assert_eq!(class(Some(2), &picked(2, &["a", "b", "c"], 3)), 0);
        assert_eq!(class(None, &picked(2, &[], 3)), 1);
        assert_eq!(class(None, &picked(1, &[], 2)), 0);
        assert_eq!(class(None, &picked(0, &[], 1)), 0);
    }

    #[test]
    fn thresholds_and_scores_that_do_not_go_together_are_warned_of() {
        let warnings = |threshold, least, most| {
            let manifest = Manifest {
                threshold,
                ..Manifest::default()
            };
            of_scores(&manifest, Range { least, most }).join("\n")
        };
        assert_eq!(warnings(0.85, 0.0, 0.99), "");
        assert!(warnings(85.0, 0.0, 0.99).contains("in percent?"));
        assert!(warnings(0.85, 0.0, 0.85).contains("nothing would be a fraud"));
        assert!(warnings(0.1, 0.2, 0.9).contains("everything would be a fraud"));
        assert!(warnings(0.0, -0.3, 0.2).contains("lower_is_worse"));
        assert!(warnings(0.5, -4.0, 3.0).contains("sigmoid"));
        assert_eq!(Range::of(&[f64::NAN]), None);
    }
}
