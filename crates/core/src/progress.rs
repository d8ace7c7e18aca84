//! Bars for people at a terminal; nothing is drawn anywhere else.

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};
use std::fmt::Write;

/// A bar of `length` steps with rate and time left, on standard error.
pub fn bar(length: u64, what: &str) -> ProgressBar {
    let template = "{msg:14} {wide_bar} {human_pos}/{human_len}  {rate:>9}/s  {eta:>4} left";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    // indicatif checks for a terminal itself, and draws nothing without one.
    ProgressBar::new(length)
        .with_style(style.with_key("rate", whole_rate))
        .with_message(what.to_owned())
}

/// Steps a second, without a fraction.
pub fn whole_rate(state: &ProgressState, out: &mut dyn Write) {
    // The bar writes to a string, which never fails.
    write!(out, "{}", HumanCount(state.per_sec() as u64)).ok();
}
