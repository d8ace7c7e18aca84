//! `sandbox bench featurizer`: events a second into Redis, and the time until an event is visible there.

mod against;
mod cost;
pub(super) mod decay;
mod freshness;
mod plain;
mod steady;
mod traffic;
mod watch;
mod writes;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tidemill_core::settings::parse_duration;

use self::cost::Spent;
use self::traffic::Traffic;
use tidemill_core::tell_line;

use super::rates::{Rates, table};
use super::topic::{drain, fill};
use crate::harness::{Binaries, Names, Scene};
use crate::progress;
use crate::stack::{Options, Stack};

/// The load of a measurement.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// Users, all equally active
    #[arg(long, default_value_t = 100_000)]
    users: u32,
    /// The users are not equally active: the activity of the n-th is as n to the power of minus this (Zipf)
    #[arg(long, value_name = "EXPONENT")]
    zipf: Option<f64>,
    /// Events that the windows hold already when the measurement begins, spread over the last 24 hours
    #[arg(long, default_value_t = 1_000_000)]
    warm: u64,
    /// Events to measure with
    #[arg(long, default_value_t = 3_000_000)]
    events: u64,
    /// Duration of the measurement of the plain loops and the bare writes
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    look: Duration,
    /// Events a second while freshness is measured
    #[arg(long, default_value_t = 50_000)]
    paced: u32,
    /// Duration of the measurement of freshness
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    fresh: Duration,
    /// Instead: this build and the executables in FOLDER by turns, 5 rounds on one load; medians and spread of both
    #[arg(long, value_name = "FOLDER")]
    against: Option<PathBuf>,
}

/// Time for freshness to settle: after its start, a broker takes half a minute of such traffic until its code is
/// compiled.
const SETTLE: Duration = Duration::from_secs(30);

const PARTITIONS: i32 = 4;

pub(super) fn command(flags: &Flags) -> Result<()> {
    // Before anything is measured.
    Binaries::build()?;
    let stack = Stack::start(&Options::from_environment())?;
    if let Some(folder) = &flags.against {
        tell_line!("{}", against::measure(&stack, flags, folder)?)?;
        return Ok(());
    }
    let scene = Scene::on(&stack, Names::unique("bench"), PARTITIONS)?;
    let topic = &scene.names.user_events;
    let mut traffic = Traffic::new(flags.users, flags.zipf)?;

    let spinner = progress::spinner("building windows");
    let past = |_, draft: &mut _| traffic.event(draft, Some(flags.warm));
    fill(&scene.brokers, topic, PARTITIONS, flags.warm, past)?;
    let mut featurizer = scene.featurizer("warm-up", &[])?;
    featurizer.wait_ready()?;
    featurizer.terminate()?;
    let present = |_, draft: &mut _| traffic.event(draft, None);
    fill(&scene.brokers, topic, PARTITIONS, flags.events, present)?;
    spinner.done("windows are built");

    let all = flags.warm + flags.events;
    let spinner = progress::spinner("measuring the limits and the plain loops");
    let drained = drain(&scene.brokers, topic, all)?;
    let plain = plain::rust(&scene, flags.look)?;
    let python = plain::python(&scene, flags.look);
    let writes = writes::packed(&scene, flags.users, flags.look)?;
    spinner.done("limits are measured");

    let spinner = progress::spinner("measuring the featurizer");
    let begun = Spent::read(&scene, None)?;
    let mut featurizer = scene.featurizer("featurizer", &[])?;
    let ours = steady::catch_up(&scene, &mut featurizer, PARTITIONS, all)?;
    let caught_up = Spent::read(&scene, Some(&featurizer))?;
    featurizer.wait_ready()?;
    let live = Spent::read(&scene, Some(&featurizer))?;
    let (sent, fresh) = freshness::measure(&scene, &mut traffic, flags.paced, SETTLE, flags.fresh)?;
    let followed = Spent::read(&scene, Some(&featurizer))?;
    let mut fresh_rows = vec![vec!["events/s".to_owned(), format!("{sent:.0}")]];
    fresh_rows.extend(fresh.rows());
    let memory = steady::memory(&scene, &featurizer)?;
    featurizer.terminate()?;
    spinner.done("the featurizer is measured");

    let read = ("topic read by a loop that does nothing", drained);
    let mut rates = match &python {
        Ok(python) => Rates::new("events/s", read, ("plain loop in Python", *python)),
        Err(_) => Rates::new("events/s", read, ("plain loop in Rust", plain)),
    };
    match &python {
        Ok(_) => rates.add("the same in Rust", plain),
        Err(reason) => tell_line!("no plain loop in Python: {reason:#}\n")?,
    }
    rates.add("bare packed writes, one an event", writes);
    rates.add("featurizer, default flags", ours);
    tell_line!("{}", rates.markdown())?;
    tell_line!("{}", table(&["from produce to Redis", ""], &fresh_rows))?;
    tell_line!("{}", table(&["memory", ""], &memory))?;
    let cost = caught_up.rows(&begun, flags.events);
    tell_line!("{}", table(&["an event, catching up", ""], &cost))?;
    let events = sent * (SETTLE + flags.fresh).as_secs_f64();
    let cost = followed.rows(&live, events as u64);
    tell_line!("{}", table(&["an event, as it comes", ""], &cost))?;
    Ok(())
}
