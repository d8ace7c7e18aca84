//! Logs on standard error, as text or JSON lines; standard output is for the output of commands.

use crate::printing::colours;
use std::io::{IsTerminal, stderr};
use std::str::FromStr;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, text, fields; coloured on a terminal.
    #[default]
    Text,
    /// For log collectors: one JSON object a line, fields at its top level.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("use text or json".into()),
        }
    }
}

/// Starts logging for the whole process. `RUST_LOG` selects levels; without it, or if it is invalid, the level is
/// `info`. The error says what is invalid.
pub fn init(format: LogFormat) -> Result<(), String> {
    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    let (filter, outcome) = match levels(&wanted) {
        Ok(filter) => (filter, Ok(())),
        Err(problem) => (EnvFilter::new("info"), Err(problem)),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(colours(stderr().is_terminal()))
        .with_target(false);
    // It fails if a subscriber is set already, as in tests that start several binaries in one process.
    let started = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
    outcome
}

/// Parses the levels in `RUST_LOG`. A bare word must be a level: as a target it would switch everything else off, and a
/// misspelt level would be taken for a target.
fn levels(text: &str) -> Result<EnvFilter, String> {
    let remedy = "use error, warn, info, debug or trace, or target=level, separated by commas";
    let words = text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let bare = |word: &&str| !word.contains(['=', '[']);
    if let Some(word) = words
        .clone()
        .filter(bare)
        .find(|word| word.parse::<LevelFilter>().is_err())
    {
        return Err(format!("RUST_LOG {text:?}: {word} is no level; {remedy}"));
    }
    if words.count() == 0 {
        return Ok(EnvFilter::new("info"));
    }
    EnvFilter::try_new(text).map_err(|error| format!("RUST_LOG {text:?}: {error}; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_understood_or_refused() {
        for (text, expected) in [
            ("", "info"),
            (" ", "info"),
            ("debug", "debug"),
            ("WARN", "warn"),
            ("info,rdkafka=debug", "rdkafka=debug,info"),
            ("off", "off"),
            ("tidemill_core::kafka=trace", "tidemill_core::kafka=trace"),
        ] {
            assert_eq!(levels(text).unwrap().to_string(), expected, "{text}");
        }
        for text in ["inof", "rdkafka", "info,rdkafka=lots", "=", "info,debgu"] {
            let problem = levels(text).unwrap_err();
            assert!(
                problem.contains("RUST_LOG") && problem.contains("target=level"),
                "{problem}"
            );
        }
    }
}
