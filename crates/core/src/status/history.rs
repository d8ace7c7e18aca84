//! The last ten minutes of a process, a point a second, from what its metrics said.

use super::exposition::samples;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Points kept: ten minutes.
const POINTS: usize = 600;

/// Readings kept, for what a stage took lately: one minute.
const READINGS: usize = 61;

/// What the metrics said at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    /// Time since the start of the process.
    at: Duration,
    records: f64,
    /// Upper bounds of the latency histogram with the number of values up to each.
    latency: Vec<(f64, f64)>,
    lag_records: f64,
    lag_seconds: f64,
    /// By stage: batches, and seconds taken.
    stages: BTreeMap<&'static str, (f64, f64)>,
}

/// What is shown of one second. Times in milliseconds; `None` where nothing happened.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    at: Duration,
    records: f32,
    p50: Option<f32>,
    p99: Option<f32>,
    lag_records: f32,
    lag_seconds: f32,
}

/// A stage in the last minute.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Stage {
    stage: &'static str,
    batches: f64,
    seconds: f64,
}

/// The points as columns.
#[derive(Debug, Default, Serialize)]
pub(super) struct Columns {
    /// Seconds before now.
    age_s: Vec<f32>,
    records_per_s: Vec<f32>,
    p50_ms: Vec<Option<f32>>,
    p99_ms: Vec<Option<f32>>,
    lag_records: Vec<f32>,
    lag_s: Vec<f32>,
}

/// Points and readings, the newest last.
#[derive(Debug, Default)]
pub(super) struct History {
    points: VecDeque<Point>,
    readings: VecDeque<Reading>,
}

impl Reading {
    /// Reads the text of `/metrics`.
    pub(super) fn of(
        text: &str,
        at: Duration,
        latency: Option<&str>,
        stages: &[&'static str],
    ) -> Self {
        let latency = latency.map(|name| format!("{name}_bucket"));
        let zero = |stage: &&'static str| (*stage, (0.0, 0.0));
        let mut reading = Self {
            at,
            stages: stages.iter().map(zero).collect(),
            ..Self::default()
        };
        for sample in samples(text) {
            let value = sample.value;
            match sample.name {
                "tidemill_records_total" => reading.records += value,
                "tidemill_lag_records" => reading.lag_records += value,
                "tidemill_lag_seconds" => reading.lag_seconds = reading.lag_seconds.max(value),
                "tidemill_stage_seconds_count" => {
                    if let Some(stage) = reading.stages.get_mut(sample.label("stage")) {
                        stage.0 = value;
                    }
                }
                "tidemill_stage_seconds_sum" => {
                    if let Some(stage) = reading.stages.get_mut(sample.label("stage")) {
                        stage.1 = value;
                    }
                }
                name if Some(name) == latency.as_deref() => {
                    let bound = sample.label("le").parse().unwrap_or(f64::INFINITY);
                    reading.latency.push((bound, value));
                }
                _ => {}
            }
        }
        reading
    }

    /// The value in milliseconds that this share of the values since `before` does not exceed, as Prometheus reckons it
    /// from a histogram.
    fn quantile_ms(&self, before: &Self, share: f64) -> Option<f32> {
        let earlier = |index: usize| before.latency.get(index).map_or(0.0, |(_, count)| *count);
        let counts = self.latency.iter().enumerate();
        let counts: Vec<(f64, f64)> = counts
            .map(|(index, (bound, count))| (*bound, count - earlier(index)))
            .collect();
        let all = counts.last()?.1;
        if all <= 0.0 {
            return None;
        }
        let rank = share * all;
        let (mut below, mut counted) = (0.0, 0.0);
        for (bound, count) in counts {
            if count >= rank {
                let inside = (rank - counted) / (count - counted);
                let value = if bound.is_finite() {
                    below + (bound - below) * inside
                } else {
                    below
                };
                return Some((value * 1000.0) as f32);
            }
            (below, counted) = (bound, count);
        }
        None
    }
}

impl History {
    /// Adds a reading that is later than all before it.
    pub(super) fn add(&mut self, reading: Reading) {
        if let Some(last) = self.readings.back() {
            let passed = reading.at.saturating_sub(last.at).as_secs_f64();
            if passed <= 0.0 {
                return;
            }
            self.points.push_back(Point {
                at: reading.at,
                records: ((reading.records - last.records) / passed) as f32,
                p50: reading.quantile_ms(last, 0.5),
                p99: reading.quantile_ms(last, 0.99),
                lag_records: reading.lag_records as f32,
                lag_seconds: reading.lag_seconds as f32,
            });
        }
        self.readings.push_back(reading);
        if self.points.len() > POINTS {
            self.points.pop_front();
        }
        if self.readings.len() > READINGS {
            self.readings.pop_front();
        }
    }

    /// The points of the ten minutes up to `now`.
    pub(super) fn columns(&self, now: Duration) -> Columns {
        let mut columns = Columns::default();
        let kept = Duration::from_secs(POINTS as u64);
        for point in &self.points {
            let age = now.saturating_sub(point.at);
            if age > kept {
                continue;
            }
            columns.age_s.push(tenths(age.as_secs_f32()));
            columns.records_per_s.push(tenths(point.records));
            columns.p50_ms.push(point.p50.map(tenths));
            columns.p99_ms.push(point.p99.map(tenths));
            columns.lag_records.push(point.lag_records);
            columns.lag_s.push(tenths(point.lag_seconds));
        }
        columns
    }

    /// What the stages took in the last minute, in the order of `stages`.
    pub(super) fn stages(&self, stages: &[&'static str]) -> Vec<Stage> {
        let (Some(first), Some(last)) = (self.readings.front(), self.readings.back()) else {
            return Vec::new();
        };
        let taken = |stage: &&'static str| {
            let of = |reading: &Reading| reading.stages.get(stage).copied().unwrap_or_default();
            let (before, now) = (of(first), of(last));
            Stage {
                stage,
                batches: now.0 - before.0,
                seconds: now.1 - before.1,
            }
        };
        stages.iter().map(taken).collect()
    }
}

fn tenths(value: f32) -> f32 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(second: u64, records: u64, buckets: [u64; 3]) -> Reading {
        let [low, high, all] = buckets;
        let text = format!(
            "tidemill_records_total {records}\nlate_bucket{{le=\"0.01\"}} {low}\nlate_bucket{{le=\"0.03\"}} {high}\n\
             late_bucket{{le=\"+Inf\"}} {all}\ntidemill_lag_records{{partition=\"0\"}} 3\n\
             tidemill_lag_records{{partition=\"1\"}} 4\ntidemill_lag_seconds{{partition=\"0\"}} 2.5\n\
             tidemill_lag_seconds{{partition=\"1\"}} 1\ntidemill_stage_seconds_count{{stage=\"grind\"}} {records}\n\
             tidemill_stage_seconds_sum{{stage=\"grind\"}} {second}\n"
        );
        Reading::of(&text, Duration::from_secs(second), Some("late"), &["grind"])
    }

    #[test]
    fn a_point_is_what_happened_since_the_last_reading() {
        let mut history = History::default();
        history.add(reading(10, 1_000, [5, 5, 5]));
        assert!(history.columns(Duration::from_secs(10)).age_s.is_empty());
        // Ten values: five up to 10 ms, four up to 30 ms, one beyond.
        history.add(reading(12, 1_500, [10, 14, 15]));
        history.add(reading(13, 1_500, [10, 14, 15]));
        let columns = history.columns(Duration::from_secs(14));
        assert_eq!(columns.age_s, [2.0, 1.0]);
        assert_eq!(columns.records_per_s, [250.0, 0.0]);
        assert_eq!(columns.p50_ms, [Some(10.0), None]);
        assert_eq!(columns.p99_ms, [Some(30.0), None]);
        assert_eq!(columns.lag_records, [7.0, 7.0]);
        assert_eq!(columns.lag_s, [2.5, 2.5]);
        let stages = history.stages(&["grind", "sift"]);
        let stage = |stage, batches, seconds| Stage {
            stage,
            batches,
            seconds,
        };
        assert_eq!(
            stages,
            [stage("grind", 500.0, 3.0), stage("sift", 0.0, 0.0)]
        );
    }

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let before = reading(0, 0, [0, 0, 0]);
        let after = reading(1, 0, [2, 10, 10]);
        // The sixth of ten values is the fourth of eight between 10 and 30 ms.
        assert_eq!(after.quantile_ms(&before, 0.6), Some(20.0));
        assert_eq!(after.quantile_ms(&before, 0.1), Some(5.0));
    }

    #[test]
    fn ten_minutes_are_kept() {
        let mut history = History::default();
        for second in 0..700 {
            history.add(reading(second, second, [0, 0, 0]));
        }
        let now = Duration::from_secs(699);
        assert_eq!(history.columns(now).age_s.len(), 600);
        assert_eq!(history.stages(&["grind"])[0].seconds, 60.0);
        // A process that stood still for an hour shows what is left of its ten minutes.
        let later = now + Duration::from_secs(300);
        assert_eq!(history.columns(later).age_s.len(), 301);
    }
}
