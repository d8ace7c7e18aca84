//! Progress for people: spinners and bars on a terminal, plain lines elsewhere.

use tidemill_core::remark_line;

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

/// A running step of unknown length.
#[derive(Debug)]
pub struct Spinner(ProgressBar);

/// Announces a step; on a terminal it spins until [`Spinner::done`] or until it is dropped.
pub fn spinner(what: &str) -> Spinner {
    if !std::io::stderr().is_terminal() {
        remark_line!("{what} ...");
        return Spinner(ProgressBar::hidden());
    }
    let bar = ProgressBar::new_spinner().with_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    Spinner(bar)
}

impl Spinner {
    /// Ends the step with a line that stays.
    pub fn done(self, what: &str) {
        self.0.finish_and_clear();
        remark_line!("{what}");
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A bar of `length` records with rate and time left; hidden without a terminal.
pub fn bar(length: u64, what: &str) -> ProgressBar {
    let template = "{msg:14} {wide_bar} {human_pos}/{human_len}  {rate:>12}/s  {eta:>4} left";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    // indicatif checks for a terminal itself, and draws nothing without one.
    ProgressBar::new(length)
        .with_style(style.with_key("rate", whole_rate))
        .with_message(what.to_owned())
}

/// A counter of records without a known end.
pub fn endless_bar(what: &str) -> ProgressBar {
    let template = "{msg:14} {spinner} {human_pos}  {rate}/s";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::no_length()
        .with_style(style.with_key("rate", whole_rate))
        .with_message(what.to_owned())
}

/// Records a second, without a fraction.
fn whole_rate(state: &ProgressState, out: &mut dyn Write) {
    // The bar writes to a string, which never fails.
    write!(out, "{}", HumanCount(state.per_sec() as u64)).ok();
}
