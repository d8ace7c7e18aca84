//! The output of commands: reports on standard output, remarks on standard error. A closed pipe never ends it by a panic.

use crate::exit::Failure;
use clap::builder::styling::AnsiColor;
use std::io::{self, ErrorKind, IsTerminal, Write as _, stderr, stdout};

/// Writes a text to standard output. A reader that has closed its end wants no more, and is no error.
///
/// # Errors
///
/// Standard output cannot be written, such as to a full disk: the process ends with 1.
pub fn tell(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Writes a report with [`tell`]; on a terminal, without `NO_COLOR`, the verdicts at the beginnings of its lines are
/// coloured.
///
/// # Errors
///
/// As those of [`tell`].
pub fn tell_report(text: &str) -> anyhow::Result<()> {
    match colours(stdout().is_terminal()) {
        true => tell(&painted(text)),
        false => tell(text),
    }
}

/// True if text for a person may have colours: on a terminal, unless `NO_COLOR` is set and not empty
/// (<https://no-color.org>).
pub(crate) fn colours(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The text with the first word of each line coloured, if it is a verdict.
fn painted(text: &str) -> String {
    let paint = |line: &str| {
        let end = line.find([' ', ':', '\n']).unwrap_or(line.len());
        let (word, rest) = line.split_at(end);
        let style = match word {
            "ok" | "good" | "whole" => AnsiColor::Green,
            "warning" => AnsiColor::Yellow,
            "problem" | "bad" | "differs" | "DAMAGED" => AnsiColor::Red,
            _ => return line.to_owned(),
        };
        let style = style.on_default();
        format!("{style}{word}{style:#}{rest}")
    };
    text.split_inclusive('\n').map(paint).collect()
}

/// The outcome of a write to standard output, in which a closed pipe is no error.
pub(crate) fn written(outcome: io::Result<()>) -> anyhow::Result<()> {
    match outcome {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::unwritable(&error)),
        _ => Ok(()),
    }
}

/// Prints a report as one JSON document.
///
/// # Errors
///
/// As those of [`tell`].
pub fn tell_json(report: &impl serde::Serialize) -> anyhow::Result<()> {
    tell(&format!("{}\n", serde_json::to_string_pretty(report)?))
}

/// Rows of cells as lines, each column as wide as its widest cell: the first `left` columns begin at the left, the others
/// end at the right.
pub fn columns<const N: usize>(rows: &[[String; N]], left: usize) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column < left {
            true => format!("{cell:width$}"),
            false => format!("{cell:>width$}"),
        });
        let cells: Vec<String> = cells.collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Writes a text to standard error. Nobody can be told where that fails.
pub fn remark(text: &str) {
    drop(stderr().write_all(text.as_bytes()));
}

/// Writes a line with [`tell`](crate::printing::tell()): `println!` without its panic.
#[macro_export]
macro_rules! tell_line {
    ($($part:tt)*) => {
        $crate::printing::tell(&format!("{}\n", format_args!($($part)*)))
    };
}

/// Writes a line with [`remark`](crate::printing::remark()): `remark_line!` without its panic.
#[macro_export]
macro_rules! remark_line {
    ($($part:tt)*) => {
        $crate::printing::remark(&format!("{}\n", format_args!($($part)*)))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_coloured_and_nothing_else() {
        let text = "ok       brokers  fine\nnot ok\nwhole: 3 files\nproblem\n";
        let expected = "\u{1b}[32mok\u{1b}[0m       brokers  fine\nnot ok\n\u{1b}[32mwhole\u{1b}[0m: 3 files\n\
                        \u{1b}[31mproblem\u{1b}[0m\n";
        assert_eq!(painted(text), expected);
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let row = |cells: [&str; 3]| cells.map(String::from);
        let rows = [
            row(["topic", "part", "MB"]),
            row(["t", "10", "1.25"]),
            row(["größer", "", ""]),
        ];
        let expected = "topic   part    MB\nt         10  1.25\ngrößer\n";
        assert_eq!(columns(&rows, 1), expected);
    }
}
