//! What a command prints: reports on standard output, remarks on standard error. A closed pipe never ends it by a panic.

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
}
