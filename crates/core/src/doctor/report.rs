//! Findings, and their output.

use crate::printing::{tell_json, tell_report};
use serde::Serialize;
use std::fmt;
use std::process::ExitCode;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, but not as well as it could, or not for long.
    Warning,
    /// Does not work.
    Problem,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The subject of the check, such as `brokers`.
    pub check: &'static str,
    /// The severity.
    pub level: Level,
    /// The finding, as a sentence.
    pub message: String,
    /// The remedy, if one is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// All findings, in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The findings, in that order.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Adds a finding that all is well.
    pub fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.add(check, Level::Ok, message.into(), None);
    }

    /// Adds a finding of something that works, but should be changed.
    pub fn warning(
        &mut self,
        check: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(check, Level::Warning, message.into(), Some(remedy.into()));
    }

    /// Adds a finding of something that does not work until it is changed.
    pub fn problem(
        &mut self,
        check: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(check, Level::Problem, message.into(), Some(remedy.into()));
    }

    fn add(&mut self, check: &'static str, level: Level, message: String, remedy: Option<String>) {
        self.findings.push(Finding {
            check,
            level,
            message,
            remedy,
        });
    }

    /// Prints the report on standard output, a line for each finding or as JSON; the exit code is 1 if there is a
    /// problem.
    pub fn print(&self, json: bool) -> anyhow::Result<ExitCode> {
        if json {
            tell_json(self)?;
        } else {
            tell_report(&self.to_string())?;
        }
        let sound = self.findings.iter().all(|one| one.level < Level::Problem);
        Ok(if sound {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let level = match finding.level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Problem => "problem",
            };
            write!(f, "{level:8} {:11} {}", finding.check, finding.message)?;
            if let Some(remedy) = &finding.remedy {
                write!(f, " -> {remedy}")?;
            }
            writeln!(f)?;
        }
        let count = |level| {
            self.findings
                .iter()
                .filter(|one| one.level == level)
                .count()
        };
        let counted = |level, one: &str| match count(level) {
            1 => format!("1 {one}"),
            count => format!("{count} {one}s"),
        };
        let problems = counted(Level::Problem, "problem");
        write!(f, "{problems}, {}", counted(Level::Warning, "warning"))?;
        // A check needs those before it, so the first one that fails may explain the others.
        let worst = self.findings.iter().rev().max_by_key(|one| one.level);
        if let Some(first) = worst.filter(|one| one.level > Level::Ok) {
            write!(f, "; mend first: {}", first.check)?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_each_and_a_code_for_scripts() {
        let mut report = Report::default();
        report.ok("brokers", "1 broker");
        report.warning("retention", "short", "keep more");
        assert_eq!(report.print(true).unwrap(), ExitCode::SUCCESS);
        report.problem("group", "receives nothing", "start earlier");
        assert_eq!(report.print(false).unwrap(), ExitCode::FAILURE);
        let lines: Vec<String> = report.to_string().lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "ok       brokers     1 broker",
                "warning  retention   short -> keep more",
                "problem  group       receives nothing -> start earlier",
                "1 problem, 1 warning; mend first: group",
            ]
        );
        report.findings.truncate(1);
        assert!(report.to_string().ends_with("0 problems, 0 warnings\n"));
        for check in ["brokers", "topic"] {
            report.problem(check, "away", "start it");
        }
        let last = report.to_string();
        assert!(last.ends_with("2 problems, 0 warnings; mend first: brokers\n"));
    }
}
