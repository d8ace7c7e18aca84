//! The demo's report as one HTML file that needs nothing else: no script, no font, no picture from anywhere.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::findings::{Findings, Second};
use super::report::Report;

/// The file's own style, for light and dark.
const STYLE: &str = include_str!("report.css");

/// Width and height of the plot.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 240.0;

/// Writes the report to `file`.
pub(super) fn write(file: &Path, report: &Report, findings: &Findings) -> Result<()> {
    fs::write(file, page(report, findings))
        .with_context(|| format!("cannot write {}", file.display()))
}

fn page(report: &Report, findings: &Findings) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>tidemill: report of the demo</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>tidemill: report of the demo</h1>\n"
    );
    let verdict = if report.holds() { "good" } else { "bad" };
    page.push_str(&format!(
        "<p class=\"{verdict}\">{}</p>\n",
        text(report.verdict())
    ));
    page.push_str("<h2>Checks</h2>\n<table>\n");
    for (name, holds, lines) in report.checks() {
        let (kind, word) = if holds {
            ("good", "ok")
        } else {
            ("bad", "WRONG")
        };
        let lines: Vec<String> = lines.iter().map(|line| text(line.trim())).collect();
        let lines = lines.join("<br>");
        page.push_str(&format!(
            "<tr><td class=\"{kind}\">{word}</td><th scope=\"row\">{}</th><td>{lines}</td></tr>\n",
            text(name)
        ));
    }
    page.push_str("</table>\n");
    latency(&mut page, &findings.seconds);
    stages(&mut page, findings);
    alerts(&mut page, findings);
    page.push_str("</body>\n</html>\n");
    page
}

/// A text, so that no record can become markup.
fn text(raw: &str) -> String {
    let mut safe = String::with_capacity(raw.len());
    for letter in raw.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}

/// The latency of each second's payments, as a plot.
fn latency(page: &mut String, seconds: &[Second]) {
    page.push_str("<h2>Latency over time</h2>\n");
    let slowest = seconds.iter().map(|second| second.p99_ms).max();
    let Some(slowest) = slowest.filter(|slowest| *slowest > 0) else {
        page.push_str("<p>No payment was measured.</p>\n");
        return;
    };
    let step = WIDTH / seconds.len().max(2).saturating_sub(1) as f64;
    let curve = |of: fn(&Second) -> u64| {
        let points = seconds.iter().enumerate().map(|(index, second)| {
            let height = HEIGHT * (1.0 - of(second) as f64 / slowest as f64);
            format!("{:.1},{height:.1}", index as f64 * step)
        });
        points.collect::<Vec<_>>().join(" ")
    };
    let (p50, p99) = (curve(|second| second.p50_ms), curve(|second| second.p99_ms));
    page.push_str(&format!("<p>From produce to committed prediction, by the second in which the payment was produced: \
         <span class=\"first\">p50</span>, <span class=\"second\">p99</span>; the top is {slowest} ms.</p>\n\
         <svg viewBox=\"-4 -4 {} {}\" role=\"img\" aria-label=\"Latency over time, up to {slowest} ms\">\
         <path class=\"rule\" d=\"M0 0H{WIDTH}M0 {}H{WIDTH}M0 {HEIGHT}H{WIDTH}\"/>\
         <polyline class=\"first\" points=\"{p50}\"/><polyline class=\"second\" points=\"{p99}\"/></svg>\n\
         <p class=\"muted\">{} seconds</p>\n",
        WIDTH + 8.0,
        HEIGHT + 8.0,
        HEIGHT / 2.0,
        seconds.len()));
}

/// The median time of each stage, from the receipts, as a bar.
fn stages(page: &mut String, findings: &Findings) {
    page.push_str("<h2>Latency by stage</h2>\n<table>\n");
    page.push_str("<tr><th>stage</th><th class=\"number\">p50</th><th class=\"number\">p99</th><th>p99, drawn</th></tr>\n");
    let longest = findings.stages.iter().map(|stage| stage.p99_ms).max();
    let longest = longest.unwrap_or(1).max(1);
    for stage in &findings.stages {
        let width = 100.0 * stage.p99_ms as f64 / longest as f64;
        page.push_str(&format!("<tr><th scope=\"row\">{}</th><td class=\"number\">{} ms</td><td class=\"number\">{} ms</td>\
             <td><svg class=\"bar\" viewBox=\"0 0 100 6\" preserveAspectRatio=\"none\"><rect width=\"{width:.1}\" \
             height=\"6\"/></svg></td></tr>\n",
            text(stage.name),
            stage.p50_ms,
            stage.p99_ms));
    }
    page.push_str("</table>\n");
}

/// Planted frauds and those among the alerts, by kind.
fn alerts(page: &mut String, findings: &Findings) {
    page.push_str("<h2>Alerts against the planted truth</h2>\n<table>\n");
    page.push_str("<tr><th>kind of fraud</th><th class=\"number\">planted</th><th class=\"number\">found</th><th>share found</th></tr>\n");
    for kind in &findings.kinds {
        let width = 100.0 * kind.found as f64 / kind.planted.max(1) as f64;
        page.push_str(&format!("<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td><svg class=\"bar\" viewBox=\"0 0 100 6\" preserveAspectRatio=\"none\"><path class=\"rest\" d=\"M0 0H100V6H0z\"/>\
             <rect width=\"{width:.1}\" height=\"6\"/></svg></td></tr>\n",
            text(kind.name),
            kind.planted,
            kind.found));
    }
    page.push_str(&format!(
        "</table>\n<p>{} alerts were no planted fraud.</p>\n",
        findings.false_alerts
    ));
}
