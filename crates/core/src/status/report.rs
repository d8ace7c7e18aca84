//! The answer of `/status.json`.

use super::Pages;
use super::exposition::samples;
use super::history::{Columns, Stage};
use super::remedy::remedy;
use crate::clock::now_ms;
use crate::effective::{Setting, in_effect};
use crate::metric::{Kind, SHARED};
use crate::{command_line, health};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::PoisonError;

/// The state of a process.
#[derive(Serialize)]
struct Report<'p> {
    program: &'p str,
    version: String,
    group: &'p str,
    topic: &'p str,
    /// Times in epoch milliseconds.
    now: i64,
    started: i64,
    uptime_s: u64,
    ready: bool,
    unready: Vec<Unready>,
    partitions: Vec<Partition>,
    history: Columns,
    stages: Vec<Stage>,
    /// Counters and gauges, as in `/metrics`.
    figures: Vec<Figure<'p>>,
    settings: &'static [Setting],
    own: serde_json::Value,
}

/// A reason for not being ready.
#[derive(Serialize)]
struct Unready {
    part: String,
    reason: String,
    remedy: &'static str,
}

/// A partition that the process reads; offsets as of the last look, every few seconds.
#[derive(Serialize)]
struct Partition {
    partition: i32,
    position: Option<i64>,
    end: i64,
    lag_records: i64,
    lag_s: f64,
}

/// A counter or gauge with its labels.
#[derive(Serialize)]
struct Figure<'p> {
    name: &'p str,
    /// In the order of `/metrics`.
    #[serde(serialize_with = "as_object")]
    labels: Vec<(String, String)>,
    value: f64,
    help: &'p str,
}

fn as_object<S: Serializer>(labels: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(labels.iter().map(|(name, value)| (name, value)))
}

impl Pages {
    /// The state of the process now, as JSON.
    pub(super) fn report(&self) -> String {
        let (now, (started, started_ms)) = (now_ms(), self.started);
        let uptime = started.elapsed();
        let unready: Vec<Unready> = self.health.unready().into_iter().map(told).collect();
        let (history, stages) = {
            let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            (history.columns(uptime), history.stages(self.section.stages))
        };
        let lags = self.shared.kafka.lags();
        let partitions = lags.iter().map(|lag| Partition {
            partition: lag.partition,
            position: lag.committed,
            end: lag.log.end,
            lag_records: lag.records(),
            lag_s: lag.seconds(now),
        });
        let report = Report {
            program: self.binary.name,
            version: command_line::version(self.binary.version),
            group: &self.shared.group,
            topic: &self.shared.topic,
            now,
            started: started_ms,
            uptime_s: uptime.as_secs(),
            ready: unready.is_empty(),
            unready,
            partitions: partitions.collect(),
            history,
            stages,
            figures: self.figures(&self.metrics.render()),
            settings: in_effect(),
            own: (self.section.figures)(),
        };
        // All keys are text, so that it cannot fail.
        serde_json::to_string(&report).unwrap_or_default()
    }

    /// The counters and gauges in a text of `/metrics`.
    fn figures(&self, text: &str) -> Vec<Figure<'static>> {
        let described: BTreeMap<&str, _> = SHARED
            .iter()
            .chain(self.binary.metrics)
            .filter(|metric| metric.kind != Kind::Histogram)
            .map(|metric| (metric.name, metric))
            .collect();
        let figures = samples(text).filter_map(|sample| {
            let metric = described.get(sample.name)?;
            let labels = sample.labels.iter();
            Some(Figure {
                name: metric.name,
                labels: labels
                    .map(|(name, value)| ((*name).to_owned(), value.to_string()))
                    .collect(),
                value: sample.value,
                help: metric.help,
            })
        });
        let mut figures: Vec<_> = figures.collect();
        // The exporter's order changes from one text to the next.
        figures.sort_by(|one, other| (one.name, &one.labels).cmp(&(other.name, &other.labels)));
        figures
    }
}

fn told(unready: health::Unready) -> Unready {
    let health::Unready { part, kind, reason } = unready;
    Unready {
        remedy: remedy(&part, kind, &reason),
        part,
        reason,
    }
}
