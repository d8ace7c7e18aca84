//! Two builds' `bench model` in alternation: the geometric mean over all models at each batch size.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::{BATCHES, Flags, batches_of};
use crate::bench::against::{Figures, alternate};

/// The figures' names, one for each of [`BATCHES`].
const FIGURES: [&str; BATCHES.len()] = [
    "ns a row in batches of 1",
    "ns a row in batches of 16",
    "ns a row in batches of 256",
];

/// The times of one batch size in nanoseconds a row, each with its model's name.
type Column = Vec<(String, f64)>;

/// Lets the `sandbox` of this build and the one in `folder` measure the same models, and returns the table.
///
/// # Errors
///
/// A build fails, or one of them runs other models than the first: `--only` leaves those out.
pub(super) fn measure(flags: &Flags, folder: &Path) -> Result<String> {
    let mut models = None;
    alternate(folder, |binaries| {
        let columns = columns(&run(&binaries.path("sandbox"), flags)?)?;
        let found: Vec<Vec<String>> = columns.iter().map(|column| names(column)).collect();
        let models = models.get_or_insert_with(|| found.clone());
        ensure!(
            *models == found,
            "the builds do not run the same models: see `bench model` of both, and use --only"
        );
        let means = columns.iter().map(|column| geometric_mean(column));
        Ok(FIGURES.into_iter().zip(means).collect::<Figures>())
    })
}

/// The report of one build, without onnxruntime.
fn run(sandbox: &Path, flags: &Flags) -> Result<String> {
    let output = Command::new(sandbox)
        .args(["bench", "model", "--python", "none"])
        .args(["--only", &flags.only])
        .args(["--millis", &flags.millis.to_string()])
        .args(&flags.folders)
        .stderr(Stdio::null())
        .output()
        .with_context(|| format!("starting {}", sandbox.display()))?;
    if !output.status.success() {
        bail!("{} ended with {}", sandbox.display(), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The scorer's times in a report. A model that was not timed at a batch size is left out there.
fn columns(report: &str) -> Result<Vec<Column>> {
    BATCHES
        .iter()
        .map(|batch| {
            let (_, table) = report
                .split_once(&batches_of(*batch))
                .with_context(|| format!("no times of batches of {batch}"))?;
            let rows = table.trim_start().lines().map_while(|line| {
                let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
                Some((cells.next()?, cells.next()?))
            });
            let timed = rows.filter_map(|(name, us)| {
                let us: f64 = us.parse().ok()?;
                Some((name.to_owned(), us * 1e3))
            });
            Ok(timed.collect())
        })
        .collect()
}

fn names(column: &[(String, f64)]) -> Vec<String> {
    column.iter().map(|(name, _)| name.clone()).collect()
}

fn geometric_mean(column: &[(String, f64)]) -> f64 {
    // A report has two decimals: what it rounds to 0 took less than half of the last one.
    let logarithms = column.iter().map(|(_, ns)| ns.max(5.0).ln());
    (logarithms.sum::<f64>() / column.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::model::{Line, speed};

    #[test]
    fn times_are_read_off_a_report() {
        let line = |name: &str, ours| Line {
            name: name.to_owned(),
            rows: 1,
            agreement: Err(anyhow::anyhow!("not compared")),
            ours,
            tract: Some([9.0; 3]),
            onnxruntime: None,
        };
        let lines = [
            line("one", Some([1.0, 2.0, 0.25])),
            line("refused", None),
            line("large", Some([4.0, 8.0, f64::NAN])),
        ];
        let tables = BATCHES.iter().enumerate();
        let tables =
            tables.map(|(at, batch)| format!("{}\n\n{}\n", batches_of(*batch), speed(&lines, at)));
        let columns = columns(&tables.collect::<String>()).unwrap();
        assert_eq!(
            columns
                .iter()
                .map(|column| names(column))
                .collect::<Vec<_>>(),
            [vec!["one", "large"], vec!["one", "large"], vec!["one"]]
        );
        let means: Vec<f64> = columns
            .iter()
            .map(|column| geometric_mean(column))
            .map(f64::round)
            .collect();
        assert_eq!(means, [2000.0, 4000.0, 250.0]);
        assert!(super::columns("nothing").is_err());
    }
}
