//! Two builds in alternation on one stack and load: medians and spread of both, and their ratio.

use std::path::Path;

use anyhow::Result;
use tidemill_core::remark_line;

use super::rates::{table, thousands};
use crate::harness::Binaries;

/// Measurements of each build.
const ROUNDS: usize = 5;

/// The figures of one run by name; all runs have the same names.
pub(super) type Figures = Vec<(&'static str, f64)>;

/// Measures this build and the one in `folder` in alternation with `run`, and returns the table.
pub(super) fn alternate(
    folder: &Path,
    mut run: impl FnMut(&Binaries) -> Result<Figures>,
) -> Result<String> {
    let (ours, theirs) = (Binaries::build()?, Binaries::at(folder)?);
    // Not counted: a broker compiles its code after its start.
    run(ours)?;
    let mut found = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        // The second build of a round finds the broker in another state than the first, so they change places.
        for place in 0..2 {
            let side = (round + place) % 2;
            let (name, binaries) = [("ours", ours), ("theirs", &theirs)][side];
            let figures = run(binaries)?;
            remark_line!("round {} of {ROUNDS}, {name}: {figures:?}", round + 1);
            found[side].push(figures);
        }
    }
    let [ours, theirs] = found;
    Ok(compared(&ours, &theirs))
}

/// A Markdown table of two sides that have the same figures.
fn compared(ours: &[Figures], theirs: &[Figures]) -> String {
    let names = ours.iter().take(1).flatten();
    let rows: Vec<Vec<String>> = names
        .enumerate()
        .map(|(index, (name, _))| {
            let values = |runs: &[Figures]| -> Vec<f64> {
                let values = runs.iter().filter_map(|run| run.get(index));
                values.map(|(_, value)| *value).collect()
            };
            let (ours, theirs) = (Spread::of(values(ours)), Spread::of(values(theirs)));
            let ratio = format!("{:.2}", ours.median / theirs.median);
            vec![(*name).to_owned(), ours.shown(), theirs.shown(), ratio]
        })
        .collect();
    let header = ["median (least to most)", "ours", "theirs", "ours / theirs"];
    table(&header, &rows)
}

/// The median of some values, and their extremes.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self {
            median: at(values.len() / 2),
            least: at(0),
            most: at(values.len().saturating_sub(1)),
        }
    }

    fn shown(&self) -> String {
        let [median, least, most] = [self.median, self.least, self.most].map(|value| match value {
            1_000.0.. => thousands(value),
            _ => format!("{value:.1}"),
        });
        format!("{median} ({least} to {most})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_with_their_spread_and_ratio() {
        let runs = |rates: [f64; 5], ms: [f64; 5]| -> Vec<Figures> {
            let pairs = rates.into_iter().zip(ms);
            pairs
                .map(|(rate, ms)| vec![("events/s", rate), ("p99 ms", ms)])
                .collect()
        };
        let ours = runs(
            [110_000.0, 90_000.0, 100_000.0, 95_000.0, 105_000.0],
            [3.0, 1.0, 2.0, 2.5, 1.5],
        );
        let theirs = runs(
            [50_000.0, 49_000.0, 51_000.0, 50_000.0, 999.0],
            [4.0, 4.0, 4.0, 4.0, 40.0],
        );
        let expected = "\
| median (least to most) |                        ours |                   theirs | ours / theirs |
|------------------------|----------------------------:|-------------------------:|--------------:|
| events/s               | 100,000 (90,000 to 110,000) | 50,000 (999.0 to 51,000) |          2.00 |
| p99 ms                 |            2.0 (1.0 to 3.0) |        4.0 (4.0 to 40.0) |          0.50 |
";
        assert_eq!(compared(&ours, &theirs), expected);
    }
}
