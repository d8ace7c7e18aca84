//! Progress for people: spinners and bars on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tidemill_core::progress::whole_rate;
use tidemill_core::remark_line;

pub use tidemill_core::progress::bar;

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

/// A counter of records without a known end.
pub fn endless_bar(what: &str) -> ProgressBar {
    let template = "{msg:14} {spinner} {human_pos}  {rate}/s";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::no_length()
        .with_style(style.with_key("rate", whole_rate))
        .with_message(what.to_owned())
}
