//! The report of the demo: one line per check, and a verdict.

use tidemill_core::tell_line;

/// A list of checks.
#[derive(Debug, Default)]
pub(super) struct Report {
    checks: Vec<Check>,
}

#[derive(Debug)]
struct Check {
    name: &'static str,
    holds: bool,
    lines: Vec<String>,
}

impl Report {
    /// Adds a check, with its result in one line or more.
    pub(super) fn add(&mut self, name: &'static str, holds: bool, lines: Vec<String>) {
        self.checks.push(Check { name, holds, lines });
    }

    /// True if every check holds, and there is at least one.
    pub(super) fn holds(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.holds)
    }

    /// Each check with its name, its outcome, and its lines.
    pub(super) fn checks(&self) -> impl Iterator<Item = (&'static str, bool, &[String])> {
        let checks = self.checks.iter();
        checks.map(|check| (check.name, check.holds, check.lines.as_slice()))
    }

    /// The verdict in words.
    pub(super) fn verdict(&self) -> &'static str {
        if self.holds() {
            "all checks hold"
        } else {
            "NOT all checks hold"
        }
    }

    /// Prints all checks and the verdict.
    pub(super) fn print(&self, mock: bool) -> anyhow::Result<()> {
        tell_line!("\nchecked:")?;
        for check in &self.checks {
            let verdict = if check.holds { "ok    " } else { "WRONG " };
            for (number, line) in check.lines.iter().enumerate() {
                match number {
                    0 => tell_line!("  {verdict} {:12} {line}", check.name)?,
                    _ => tell_line!("  {:6} {:12} {line}", "", "")?,
                }
            }
        }
        if mock {
            tell_line!(
                "  note   {:12} the mock broker keeps no transactions apart: \"once\" is not shown here",
                ""
            )?;
        }
        tell_line!("{}", self.verdict())
    }
}
