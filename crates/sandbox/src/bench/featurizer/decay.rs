//! `sandbox bench decay`: delay of rewriting hashes when events leave the windows of a million silent users.

use std::io::Write as _;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use tidemill_core::settings::parse_duration;
use tidemill_core::tell_line;

use super::super::rates::table;
use super::super::topic::fill;
use super::PARTITIONS;
use super::watch::{Probe, watch};
use crate::harness::{Names, Scene};
use crate::progress;
use crate::simulate::now_ms;
use crate::stack::{Options, Stack};

const DAY_MS: i64 = 86_400_000;
/// Distance between two users that are probed.
const PROBE: u64 = 50;

/// The load of a measurement.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// Users, each with one event
    #[arg(long, default_value_t = 1_000_000)]
    users: u64,
    /// Events that leave the window in a second
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// Time until the first event leaves; the windows must be built by then
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    lead: Duration,
    /// Duration of each measurement: first of a process that runs, then of one that was killed and started again
    #[arg(long, default_value = "15s", value_parser = parse_duration)]
    look: Duration,
}

/// The times at which users' events leave the window.
struct Schedule<'a> {
    scene: &'a Scene,
    start: Instant,
    rate: u64,
}

impl Schedule<'_> {
    fn due(&self, user: u64) -> Duration {
        Duration::from_millis(user * 1000 / self.rate)
    }

    /// Probes, for `look`, users who become due from now on; returns rows with percentiles.
    fn measure(&self, look: Duration) -> Result<Vec<Vec<String>>> {
        let (sender, receiver) = channel();
        let redis = self.scene.redis()?;
        let watcher = thread::spawn(move || watch(redis, &receiver));
        let from = self.start.elapsed();
        let first = (from.as_secs_f64() * self.rate as f64) as u64 / PROBE + 1;
        for user in (first..).map(|number| number * PROBE) {
            let since = self.start + self.due(user);
            if self.due(user) > from + look {
                break;
            }
            thread::sleep(since.saturating_duration_since(Instant::now()));
            let (key, count) = (self.scene.names.features_key(&name(user)), 0..=0);
            // A watcher that has ended reports its error below.
            if sender.send(Probe { key, count, since }).is_err() {
                break;
            }
        }
        drop(sender);
        let found = watcher.join().ok().context("the watcher panicked")??;
        Ok(found.rows())
    }
}

fn name(user: u64) -> String {
    format!("u_{user:07}")
}

/// Measures, and prints the results.
pub(in crate::bench) fn command(flags: &Flags) -> Result<()> {
    let stack = Stack::start(&Options::from_environment())?;
    let scene = Scene::on(&stack, Names::unique("decay"), PARTITIONS)?;
    let (begin, start_ms) = (Instant::now(), now_ms() + flags.lead.as_millis() as i64);
    let schedule = Schedule {
        scene: &scene,
        start: begin + flags.lead,
        rate: flags.rate,
    };

    let spinner = progress::spinner("building windows");
    let topic = &scene.names.user_events;
    fill(
        &scene.brokers,
        topic,
        PARTITIONS,
        flags.users,
        |user, draft| {
            let due_ms = start_ms + schedule.due(user).as_millis() as i64;
            let time = Timestamp::from_millisecond(due_ms - DAY_MS)?;
            let name = name(user);
            write!(draft.key, "{name}")?;
            write!(
                draft.value,
                "{{\"user_id\":\"{name}\",\"amount\":1,\"timestamp\":\"{time:.3}\"}}"
            )?;
            Ok(())
        },
    )?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    featurizer.wait_ready()?;
    let built = begin.elapsed();
    ensure!(
        built < flags.lead,
        "the windows were built after {built:.0?}, when events left them already; raise --lead"
    );
    spinner.done(&format!("windows are built after {built:.0?}"));

    let spinner = progress::spinner("measuring");
    thread::sleep(schedule.start.saturating_duration_since(Instant::now()));
    let running = schedule.measure(flags.look)?;
    featurizer.kill()?;
    featurizer.start_again()?;
    featurizer.wait_ready()?;
    let killed = schedule.measure(flags.look)?;
    featurizer.terminate()?;
    spinner.done("decay is measured");

    tell_line!(
        "{}",
        table(&["from leaving the window to Redis", ""], &running)
    )?;
    tell_line!(
        "{}",
        table(&["after kill -9, from readiness on", ""], &killed)
    )?;
    Ok(())
}
