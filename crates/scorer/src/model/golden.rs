//! Checks that a model scores the manifest's golden vectors, rows whose scores are known, rightly.

use anyhow::ensure;

use super::load::Loaded;
use super::session::Session;

/// The largest difference from onnxruntime: absolute up to 1, relative above.
const TOLERANCE: f64 = 1e-5;

/// Scores the golden rows, alone and in one batch.
///
/// # Errors
///
/// The model fails on a row, or the first row whose score is another than the manifest says.
pub(super) fn check(model: &Loaded) -> anyhow::Result<()> {
    let golden = &model.manifest.golden;
    let mut session = Session::new(model)?;
    let rows: Vec<f64> = golden.iter().flat_map(|row| row.input.clone()).collect();
    let mut batch = Vec::new();
    session.run(&rows, &mut batch)?;
    for (index, (row, together)) in golden.iter().zip(batch).enumerate() {
        let mut alone = Vec::new();
        session.run(&row.input, &mut alone)?;
        for score in [alone[0], together] {
            ensure!(
                (score - row.score).abs() <= TOLERANCE * row.score.abs().max(1.0),
                "golden[{index}]: the model scores {score}, the manifest says {}: more than {TOLERANCE:e} apart \
                 (relative above 1); write golden scores unrounded",
                row.score
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::model::{Golden, Manifest, Operators, Session, load_as};

    use super::check;

    /// If `difference` beside the true score of a fixture is forgiven, and that score.
    fn forgiven(fixture: &str, difference: f64) -> (bool, f64) {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let file = folder.join(fixture).with_extension("onnx");
        let mut model = load_as(&file, Manifest::default(), Operators::Ours).unwrap();
        let input = vec![5_000.0, 3.0, 1.0, 0.9];
        let mut scores = Vec::new();
        Session::new(&model).unwrap().score(&input, &mut scores);
        let score = scores[0] + difference * scores[0].abs().max(1.0);
        model.manifest.golden = vec![Golden { input, score }];
        (check(&model).is_ok(), scores[0])
    }

    #[test]
    fn golden_scores_are_kept_to_a_hundred_thousandth() {
        for (fixture, large) in [("logistic", false), ("ridge", true)] {
            let (near, score) = forgiven(fixture, 0.9e-5);
            assert_eq!(score.abs() > 2.0, large, "{fixture}: {score}");
            assert!(near && !forgiven(fixture, 1.1e-5).0, "{fixture}");
            assert!(!forgiven(fixture, -1.1e-5).0, "{fixture}");
        }
    }
}
