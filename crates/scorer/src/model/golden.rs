//! Checks that a model runs, and scores the manifest's golden vectors, rows whose scores are known, rightly.

use anyhow::ensure;

use super::load::Loaded;
use super::session::Session;

/// Scores are published with 4 decimals, and golden ones may be written so.
const TOLERANCE: f64 = 1e-4;

/// Scores the golden rows, alone and in one batch; without any, a row of zeros.
///
/// # Errors
///
/// The model fails, or the first row whose score is another than the manifest says.
pub(super) fn check(model: &Loaded) -> anyhow::Result<()> {
    let golden = &model.manifest.golden;
    let mut session = Session::new(model)?;
    if golden.is_empty() {
        let zeros = vec![0.0; model.manifest.inputs.len()];
        return session.run(&zeros, &mut Vec::new());
    }
    let mut batch = Vec::new();
    session.score(
        &golden
            .iter()
            .flat_map(|row| row.input.clone())
            .collect::<Vec<_>>(),
        &mut batch,
    );
    for (index, (row, together)) in golden.iter().zip(batch).enumerate() {
        let mut alone = Vec::new();
        session.run(&row.input, &mut alone)?;
        for score in [alone[0], together] {
            ensure!(
                (score - row.score).abs() <= TOLERANCE,
                "golden[{index}]: the model scores {score}, the manifest says {}",
                row.score
            );
        }
    }
    Ok(())
}
