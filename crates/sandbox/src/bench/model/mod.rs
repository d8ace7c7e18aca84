//! `sandbox bench model`: models by the scorer, by tract alone and by onnxruntime, side by side.
//!
//! Models come with answers that onnxruntime gave when they were made (see [`answers`]), so agreement is shown without
//! Python; onnxruntime's times need a Python that has it. All run on one thread.

mod against;
mod answers;
mod onnxruntime;
mod timing;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use scorer::model::{Operators, Session, load_as};

use self::answers::{Found, read};
use tidemill_core::{remark_line, tell_line};

use super::rates::table;

/// The models, and the Python to compare with.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// Folders of models with an answers.json each, as crates/scorer/fixtures/make.py writes them
    #[arg(default_value = "crates/scorer/fixtures")]
    folders: Vec<PathBuf>,
    /// A Python that has onnxruntime
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Only models whose names contain this
    #[arg(long, default_value = "")]
    only: String,
    /// Milliseconds to time each model at each batch size
    #[arg(long, default_value_t = 60)]
    millis: u64,
    /// Instead: this build and the executables in FOLDER by turns, 5 rounds without onnxruntime; medians and spread of both
    #[arg(long, value_name = "FOLDER")]
    against: Option<PathBuf>,
}

/// The sizes of the batches that are timed, in rows.
const BATCHES: [usize; 3] = [1, 16, 256];

/// Microseconds per row, for each of [`BATCHES`].
type Times = [f64; BATCHES.len()];

/// The results for a model.
struct Line {
    name: String,
    rows: usize,
    /// Agreement of the scorer with onnxruntime, or the error with which the scorer refuses the model.
    agreement: Result<Found>,
    ours: Option<Times>,
    /// `None` if tract alone does not load it.
    tract: Option<Times>,
    onnxruntime: Option<Times>,
}

pub(super) fn command(flags: &Flags) -> Result<()> {
    if let Some(folder) = &flags.against {
        tell_line!("{}", against::measure(flags, folder)?)?;
        return Ok(());
    }
    let budget = Duration::from_millis(flags.millis);
    let mut lines = Vec::new();
    for folder in &flags.folders {
        let answers = read(folder, &flags.only)?;
        let theirs = onnxruntime::times(&flags.python, folder, &answers, budget);
        let theirs = theirs.unwrap_or_else(|error| {
            remark_line!("onnxruntime is left out: {error:#}");
            Vec::new()
        });
        for (at, (name, answer)) in answers.iter().enumerate() {
            let path = folder.join(name).with_extension("onnx");
            let open = |operators| -> Result<Session> {
                Session::new(&load_as(&path, answer.manifest(), operators)?)
            };
            let ours = open(Operators::Ours).and_then(|mut session| {
                let found = answer.compare(&mut session)?;
                Ok((found, timing::times(&mut session, answer, budget)?))
            });
            let tract = open(Operators::Tracts)
                .and_then(|mut session| timing::times(&mut session, answer, budget));
            lines.push(Line {
                name: name.clone(),
                rows: answer.rows.len(),
                ours: ours.as_ref().ok().map(|(_, times)| *times),
                agreement: ours.map(|(found, _)| found),
                tract: tract.ok(),
                onnxruntime: theirs.get(at).copied(),
            });
        }
    }
    print(&lines)
}

fn print(lines: &[Line]) -> Result<()> {
    tell_line!("{}", agreement(lines))?;
    for (at, batch) in BATCHES.iter().enumerate() {
        tell_line!("{}\n", batches_of(*batch))?;
        tell_line!("{}", speed(lines, at))?;
    }
    Ok(())
}

/// The line above the times of a batch size.
fn batches_of(batch: usize) -> String {
    format!("Microseconds a row in batches of {batch}:")
}

fn agreement(lines: &[Line]) -> String {
    let row = |line: &Line| {
        let (difference, decisions) = match &line.agreement {
            Ok(found) => (
                format!("{:.0e}", found.difference),
                format!("{} of {}", found.decisions, line.rows),
            ),
            Err(error) => (format!("{error:#}"), "none".to_owned()),
        };
        let alone = if line.tract.is_some() { "yes" } else { "no" };
        vec![line.name.clone(), difference, decisions, alone.to_owned()]
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    let header = [
        "model",
        "largest difference",
        "same decision",
        "loads in tract alone",
    ];
    table(&header, &rows)
}

fn speed(lines: &[Line], at: usize) -> String {
    let number = |x: Option<f64>| x.map_or("-".to_owned(), |x| format!("{x:.2}"));
    let ratio = |other: Option<f64>, ours: Option<f64>| {
        let ratio = other.zip(ours).map(|(other, ours)| other / ours);
        ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.1}"))
    };
    let row = |line: &Line| {
        let of = |times: Option<Times>| times.map(|times| times[at]).filter(|x| x.is_finite());
        let (ours, tract) = (of(line.ours), of(line.tract));
        let onnxruntime = of(line.onnxruntime);
        vec![
            line.name.clone(),
            number(ours),
            number(tract),
            number(onnxruntime),
            ratio(tract, ours),
            ratio(onnxruntime, ours),
        ]
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    let header = [
        "model",
        "scorer",
        "tract alone",
        "onnxruntime",
        "times tract",
        "times onnxruntime",
    ];
    table(&header, &rows)
}
