//! Where the time of an event goes: processor time, commands and bytes of Redis, writes and loads of the featurizer.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::super::usage::used;
use crate::harness::{Program, Scene};

/// Commands that a table shows: those that take Redis the most time.
const SHOWN: usize = 6;

/// The parts of Redis's report that are counted, each with what it counts and its factor.
const REPORTED: [(&str, &str, f64); 5] = [
    ("used_cpu_user", "Redis, CPU us", 1e6),
    ("used_cpu_sys", "Redis, CPU us", 1e6),
    ("total_net_input_bytes", "bytes to Redis", 1.0),
    ("total_net_output_bytes", "bytes from Redis", 1.0),
    ("aof_current_size", "bytes of the append-only file", 1.0),
];

/// The counters of the featurizer, each with what it counts.
const COUNTED: [(&str, &str); 3] = [
    ("tidemill_user_writes_total", "users written"),
    ("tidemill_user_loads_total", "users loaded"),
    ("tidemill_steps_total", "transactions"),
];

/// The costs so far.
pub(super) struct Spent {
    /// By name; commands by `NAME, calls` and `NAME, us`.
    counts: BTreeMap<String, f64>,
}

impl Spent {
    /// Reads the counters of Redis, and of the featurizer unless it is yet to be started.
    pub(super) fn read(scene: &Scene, featurizer: Option<&Program>) -> Result<Spent> {
        let mut counts = BTreeMap::new();
        let mut add = |name: &str, value: f64| *counts.entry(name.to_owned()).or_default() += value;
        if let Some(featurizer) = featurizer {
            let cpu = used(featurizer.pid()).context("the featurizer is gone")?;
            add("featurizer, CPU us", cpu.as_secs_f64() * 1e6);
            let (_, page) = featurizer.page("/metrics")?;
            for (metric, name) in COUNTED {
                let lines = page.lines().filter(|line| line.starts_with(metric));
                lines
                    .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
                    .for_each(|value| add(name, value));
            }
        }
        let mut redis = scene.redis()?;
        for part in ["cpu", "stats", "persistence", "commandstats"] {
            let report: String = redis::cmd("INFO").arg(part).query(&mut redis)?;
            for (field, value) in report.lines().filter_map(|line| line.split_once(':')) {
                if let Some(command) = field.strip_prefix("cmdstat_") {
                    for (figure, name) in [("calls=", "calls"), ("usec=", "us")] {
                        let told = value.split(',').find_map(|word| word.strip_prefix(figure));
                        let told: f64 = told.context("no figure of a command")?.parse()?;
                        add(&format!("{}, {name}", command.to_uppercase()), told);
                    }
                }
                for (own, name, factor) in REPORTED {
                    if own == field {
                        add(name, value.trim().parse::<f64>()? * factor);
                    }
                }
            }
        }
        Ok(Spent { counts })
    }

    /// The costs of each of `events` since `before`, as rows of a table.
    pub(super) fn rows(&self, before: &Spent, events: u64) -> Vec<Vec<String>> {
        let each = |name: &str| {
            let of = |spent: &Spent| spent.counts.get(name).copied().unwrap_or_default();
            (of(self) - of(before)) / events as f64
        };
        let row = |name: String, value: f64| {
            // The append-only file shrinks when Redis rewrites it.
            let text = match value < 0.0 {
                true => "rewritten".to_owned(),
                false => format!("{value:.3}"),
            };
            vec![name, text]
        };
        let totals = REPORTED[1..].iter().map(|(_, name, _)| *name);
        let totals = ["featurizer, CPU us"].into_iter().chain(totals);
        let totals = totals.chain(COUNTED.iter().map(|(_, name)| *name));
        let mut rows: Vec<_> = totals.map(|name| row(name.into(), each(name))).collect();
        let commands = self
            .counts
            .keys()
            .filter_map(|name| name.strip_suffix(", us"));
        let mut commands: Vec<(&str, f64)> = commands
            .map(|command| (command, each(&format!("{command}, us"))))
            .collect();
        commands.sort_by(|one, other| other.1.total_cmp(&one.1));
        for (command, us) in commands.into_iter().take(SHOWN) {
            let calls = each(&format!("{command}, calls"));
            rows.push(row(format!("{command}, calls"), calls));
            rows.push(row(format!("{command}, us"), us));
        }
        rows
    }
}
