//! What the demo found: one line a check, and whether all hold.

/// A list of checks made.
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
    /// Adds a check, with what was found in one line or more.
    pub(super) fn add(&mut self, name: &'static str, holds: bool, lines: Vec<String>) {
        self.checks.push(Check { name, holds, lines });
    }

    /// Whether every check holds, and there was one.
    pub(super) fn holds(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.holds)
    }

    /// Prints all of it.
    pub(super) fn print(&self, mock: bool) {
        println!("\nchecked:");
        for check in &self.checks {
            let verdict = if check.holds { "ok    " } else { "WRONG " };
            for (number, line) in check.lines.iter().enumerate() {
                match number {
                    0 => println!("  {verdict} {:12} {line}", check.name),
                    _ => println!("  {:6} {:12} {line}", "", ""),
                }
            }
        }
        if mock {
            println!(
                "  note   {:12} the mock broker keeps no transactions apart: \"once\" is not shown here",
                ""
            );
        }
        let verdict = if self.holds() {
            "all checks hold"
        } else {
            "NOT all checks hold"
        };
        println!("{verdict}");
    }
}
