//! Prints a report, for people or as JSON.

use super::Found;
use super::report::{Report, Row};
use std::fmt::{self, Display};
use std::process::ExitCode;
use tidemill_core::features::Definitions;
use tidemill_core::printing::{columns, tell_json, tell_report};

/// Columns of a line for people.
const WIDTH: usize = 80;

/// Prints the report with the last `last` events; exit code 1 if stored and replayed values differ, or the user is
/// unknown.
pub(super) fn print(
    definitions: &Definitions,
    user: &str,
    found: &Found,
    (last, json): (usize, bool),
) -> anyhow::Result<ExitCode> {
    let report = Report::new(definitions, user, found);
    match json {
        true => tell_json(&report)?,
        false => tell_report(
            &Text {
                report: &report,
                last,
            }
            .to_string(),
        )?,
    }
    Ok(ExitCode::from(u8::from(report.differs)))
}

/// A report for people, with the last events only.
pub(super) struct Text<'a> {
    pub(super) report: &'a Report,
    pub(super) last: usize,
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            user,
            as_of,
            features,
            right_until,
            since,
            events,
            ..
        } = self.report;
        if features.is_empty() {
            return writeln!(
                f,
                "user {user}: no events since {since}, and nothing stored"
            );
        }
        writeln!(f, "{user} as of {as_of}")?;
        f.write_str(&table(features))?;
        if self.report.other_definitions {
            let what = "the stored windows are of other feature definitions";
            writeln!(f, "differs  {what}: is --features right?")?;
        }
        if self.report.hash_missing {
            writeln!(f, "differs  there is no hash of the user")?;
        }
        writeln!(f, "right until {right_until}")?;
        if self.report.lost_offsets > 0 {
            let lost = self.report.lost_offsets;
            writeln!(
                f,
                "retention deleted {lost} offsets while the topic was read"
            )?;
        }
        if !self.report.exact {
            let what = "the stored window sums its oldest events up by the minute:";
            writeln!(f, "{what}\nit may count up to a minute too much")?;
        }
        writeln!(f, "\n{} events since {since}", events.len())?;
        let skipped = events.len().saturating_sub(self.last);
        if skipped > 0 {
            let all = events.len();
            writeln!(f, "the last {} of them; --last {all} shows all", self.last)?;
        }
        if !events.is_empty() {
            writeln!(f, "time                     partition/offset  counts in")?;
        }
        for event in &events[skipped..] {
            let place = format!("{}/{}", event.partition, event.offset);
            let counts = match (event.counts_in.len(), features.len()) {
                (0, _) => "nothing".to_owned(),
                (some, all) if some == all => "all".to_owned(),
                (some, all) => format!("{some} of {all}"),
            };
            let line = format!("{:24} {place:17} {counts:9} {}", event.time, event.value);
            writeln!(f, "{}", cut(&line))?;
        }
        Ok(())
    }
}

/// The features in columns, each as wide as it must be.
fn table(features: &[Row]) -> String {
    let cells = |row: &Row| {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let verdict = if row.same { "ok" } else { "differs" };
        [
            verdict.to_owned(),
            row.name.clone(),
            shown(&row.hash),
            shown(&row.window),
            shown(&row.topic),
        ]
    };
    let mut rows = vec![["", "feature", "hash", "window", "topic"].map(String::from)];
    rows.extend(features.iter().map(cells));
    columns(&rows, 2)
}

/// The line, no longer than people's terminals are wide, and without what would move their cursor.
fn cut(line: &str) -> String {
    let shown = line
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char });
    let mut shown: Vec<char> = shown.take(WIDTH + 1).collect();
    if shown.len() > WIDTH {
        shown.truncate(WIDTH - 1);
        shown.push('…');
    }
    shown.into_iter().collect()
}
