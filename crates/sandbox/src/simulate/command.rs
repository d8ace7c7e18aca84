//! `sandbox simulate`: the flags, and the plan made from them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tidemill_core::settings::{parse_duration, parse_time};
use tidemill_core::tell_line;
use tokio_util::sync::CancellationToken;

use super::plan::{self, Plan, Topics, Written, now_ms};
use super::sink::Sink;
use super::traffic::Settings;
use crate::{kafka, progress};

/// The world to simulate, its speed, and its topics.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// Payments per second [default: 100]
    #[arg(long)]
    rate: Option<f64>,
    /// Number of payments
    #[arg(long, conflicts_with = "duration")]
    count: Option<u64>,
    /// Time to go on for, such as 30s or 5m [default: until stopped]
    #[arg(long, value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Spread the payments over this stretch of time, ending now, and write them as fast as possible; needs --count
    #[arg(long, value_parser = parse_duration, requires = "count", conflicts_with = "rate")]
    span: Option<Duration>,
    /// Time of the first payment [default: now, or now less --span]
    #[arg(long, value_parser = parse_time, requires = "span")]
    start: Option<i64>,
    /// The same seed, --start and sizes give the same events
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of card holders
    #[arg(long, default_value_t = 2_000)]
    customers: usize,
    /// Share of payments that are fraud, from 0 to 0.5
    #[arg(long, default_value_t = 0.02, value_parser = parse_share)]
    fraud_share: f64,
    /// Mean time until the truth about a payment is known
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    label_delay: Duration,
    /// Views, logins and the like per payment
    #[arg(long, default_value_t = 0.5)]
    browsing: f64,
    /// Write labeled events to this file, one JSON object a line, instead of everything to Kafka
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Kafka brokers, host:port separated by commas
    #[arg(long, env = "KAFKA_BROKERS", default_value = "localhost:9092")]
    brokers: String,
    /// Topic of customers' actions
    #[arg(long, default_value = "user-events")]
    user_events: String,
    /// Topic of payments
    #[arg(long, default_value = "transactions")]
    transactions: String,
    /// Topic of payments whose truth is known
    #[arg(long, default_value = "labeled-events")]
    labeled_events: String,
    /// Partitions of topics that have to be created
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=1000))]
    partitions: i32,
}

/// Simulates according to the flags, and prints the numbers of records written.
pub fn command(flags: &Flags, shutdown: &CancellationToken) -> Result<()> {
    let plan = flags.plan();
    let mut sink = match &flags.to {
        Some(path) => Sink::file(path)?,
        None => {
            let topics = flags.topics();
            let names = [
                &topics.user_events,
                &topics.transactions,
                &topics.labeled_events,
            ];
            kafka::create_topics(&flags.brokers, &names.map(String::as_str), flags.partitions)?;
            Sink::kafka(&flags.brokers, topics)?
        }
    };
    let bar = if plan.settings.count == u64::MAX {
        progress::endless_bar("payments")
    } else {
        progress::bar(plan.settings.count, "payments")
    };
    let written = plan::run(&plan, &mut sink, &bar, shutdown)?;
    print(&written)
}

impl Flags {
    fn plan(&self) -> Plan {
        let rate = match (self.span, self.count) {
            (Some(span), Some(count)) => count as f64 / span.as_secs_f64().max(0.001),
            _ => self.rate.unwrap_or(100.0).max(0.001),
        };
        let count = match (self.count, self.duration) {
            (Some(count), _) => count,
            (None, Some(duration)) => (rate * duration.as_secs_f64()).round() as u64,
            (None, None) => u64::MAX,
        };
        let span_ms = self.span.map_or(0, |span| span.as_millis() as i64);
        let settings = Settings {
            seed: self.seed,
            start_ms: self.start.unwrap_or_else(|| now_ms() - span_ms),
            rate,
            count,
            customers: self.customers,
            fraud_share: self.fraud_share,
            label_delay_ms: self.label_delay.as_secs_f64() * 1_000.0,
            browsing: self.browsing,
        };
        Plan {
            settings,
            paced: self.span.is_none(),
        }
    }

    fn topics(&self) -> Topics {
        Topics {
            user_events: self.user_events.clone(),
            transactions: self.transactions.clone(),
            labeled_events: self.labeled_events.clone(),
        }
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.0..=0.5).contains(share));
    share.ok_or_else(|| "use a number from 0 to 0.5".to_owned())
}

fn print(written: &Written) -> anyhow::Result<()> {
    let mut kinds = BTreeMap::new();
    for kind in written.frauds.values() {
        *kinds.entry(kind.name()).or_insert(0_u64) += 1;
    }
    tell_line!(
        "{} payments, {} records in all",
        written.transactions,
        written.records
    )?;
    for (kind, count) in kinds {
        tell_line!("  fraud by {kind}: {count}")?;
    }
    Ok(())
}
