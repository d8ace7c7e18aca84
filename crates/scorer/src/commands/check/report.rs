//! The findings about a model, as JSON or as lines for people.

use serde::Serialize;

/// The findings.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) model: String,
    pub(super) manifest: Option<String>,
    /// The reason why the model cannot be used.
    pub(super) error: Option<String>,
    pub(super) warnings: Vec<String>,
    /// The bundle's, as in receipts.
    pub(super) sha256: Option<String>,
    pub(super) threshold: f64,
    pub(super) inputs: Vec<String>,
    pub(super) output: Option<String>,
    pub(super) golden: usize,
    pub(super) scores: Vec<Scores>,
    /// Rows that score the same alone, together and shuffled.
    pub(super) independent_rows: usize,
    pub(super) latency: Vec<Latency>,
}

/// The scores of some rows.
#[derive(Debug, Serialize)]
pub(super) struct Scores {
    pub(super) rows: String,
    pub(super) count: usize,
    /// Rows without a finite score, which are dead letters.
    pub(super) without: usize,
    pub(super) least: Option<f64>,
    pub(super) most: Option<f64>,
}

/// The time of a batch.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    pub(super) rows: usize,
    pub(super) batch_us: f64,
    pub(super) row_us: f64,
}

impl Report {
    /// As lines.
    pub(super) fn describe(&self) -> String {
        let mut lines = Vec::new();
        let mut tell = |head: &str, text: &str| lines.push(format!("{head:10} {text}"));
        tell("model", &self.model);
        tell("manifest", self.manifest.as_deref().unwrap_or("none"));
        if let Some(sha256) = &self.sha256 {
            tell("sha256", sha256);
        }
        for (at, input) in self.inputs.iter().enumerate() {
            tell(if at == 0 { "inputs" } else { "" }, input);
        }
        if let Some(output) = &self.output {
            tell("output", output);
        }
        tell(
            "threshold",
            &format!("{}, a fraud is above it", self.threshold),
        );
        for scores in &self.scores {
            tell("scores", &scores.describe());
        }
        if self.independent_rows > 0 {
            let count = self.independent_rows;
            tell(
                "rows",
                &format!("{count} made-up ones score the same alone, together and shuffled"),
            );
        }
        for Latency {
            rows,
            batch_us,
            row_us,
        } in &self.latency
        {
            let head = format!("batch {rows:4}");
            tell(&head, &format!("{batch_us:9.1} us, {row_us:.2} us a row"));
        }
        for warning in &self.warnings {
            tell("warning", warning);
        }
        match &self.error {
            None if self.golden > 0 => tell("good", &format!("{} golden rows agree", self.golden)),
            None => tell("good", "it loads"),
            Some(error) => tell("bad", error),
        }
        lines.join("\n") + "\n"
    }
}

impl Scores {
    fn describe(&self) -> String {
        let range = match (self.least, self.most) {
            (Some(least), Some(most)) => format!("{least:.4} to {most:.4}"),
            _ => "none".to_owned(),
        };
        let without = match self.without {
            0 => String::new(),
            count => format!(", {count} without a score"),
        };
        format!("{range} over {} {} rows{without}", self.count, self.rows)
    }
}
