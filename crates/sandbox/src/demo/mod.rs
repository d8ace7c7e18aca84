//! `sandbox demo`: the real executables on simulated live traffic, ending in a report of checks.

mod checks;
mod findings;
mod html;
mod live;
mod pages;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tidemill_core::{remark_line, tell_line};
use tokio_util::sync::CancellationToken;

use crate::harness::{Binaries, Names, Program, Scene};
use crate::oracle::Watch;
use crate::place::state_folder;
use crate::progress;
use crate::simulate::{Plan, Settings, Sink, now_ms, run};
use crate::stack::{Options, Stack};
use findings::Findings;
use report::Report;

/// The size of a demo.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// Seconds of live traffic
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Payments per second
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    rate: u64,
    /// Seed of the simulated world
    #[arg(long, default_value_t = 2026)]
    seed: u64,
    /// Model to score with [default: models/fraud.onnx]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Keep everything running after the report until Ctrl-C, and say how to look around
    #[arg(long)]
    keep: bool,
    /// Open the live pages of the three programs in the browser
    #[arg(long)]
    open: bool,
}

/// Payments made in the hours before the demo: users start with a history, the collector with a backlog.
const PAST_PAYMENTS: u64 = 44_000;

/// Age of the oldest of them; less than the features' window of 24 hours.
const PAST_MS: i64 = 20 * 3_600_000;

/// The three running binaries.
struct Programs {
    featurizer: Program,
    scorer: Program,
    collector: Program,
}

/// Runs the demo; `true` if every check holds.
pub fn command(flags: &Flags, shutdown: &CancellationToken) -> Result<bool> {
    let spinner =
        progress::spinner("building featurizer, scorer and collector, where they are not");
    Binaries::build()?;
    spinner.done("featurizer, scorer and collector are there");

    let spinner = progress::spinner("starting Redis and Kafka");
    let options = Options {
        usual_ports: true,
        mock_allowed: true,
        ..Options::from_environment()
    };
    let stack = Stack::start(&options)?;
    spinner.done("Redis and Kafka are up");
    tell_line!("{}", stack.describe())?;

    // On our own servers the documented names are free; on given ones they may be in use.
    let foreign = options.brokers.is_some() || options.redis_url.is_some();
    let names = if foreign {
        Names::unique("demo")
    } else {
        Names::plain()
    };
    let scene = Scene::on(&stack, names, 4)?;
    create_outputs(&stack, &scene.names)?;
    let mut programs = if stack.is_mock() {
        // The mock cannot find a position by time, so a first start would miss past records.
        let programs = start(flags, &scene)?;
        write_past(flags, &scene, shutdown)?;
        programs
    } else {
        write_past(flags, &scene, shutdown)?;
        start(flags, &scene)?
    };

    pages::tell(&programs, flags.open)?;
    let watch = Watch::start(&scene.brokers, &scene.names.predictions)?;
    let plan = Plan {
        settings: settings(flags, now_ms()),
        paced: true,
    };
    let written = live::run(&plan, &scene, &watch, shutdown)?;

    let (mut report, mut findings) = (Report::default(), Findings::default());
    let results = (&mut report, &mut findings);
    checks::predictions(&scene, watch, &written, &programs.scorer, results)?;
    checks::features(&scene, &mut report)?;
    if flags.keep {
        checks::data_set_grows(&scene, &mut report)?;
    } else {
        checks::shutdown(&mut programs, &mut report)?;
        checks::data_set(&scene, &mut report)?;
    }
    report.print(stack.is_mock())?;
    let file = state_folder().join("demo.html");
    html::write(&file, &report, &findings)?;
    tell_line!("report with plots: {}", file.display())?;
    if flags.keep {
        look_around(&scene, &programs)?;
        while !shutdown.is_cancelled() {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(report.holds())
}

/// The binaries would create them, but the reader of predictions starts earlier, and the mock does not support such a
/// request.
fn create_outputs(stack: &Stack, names: &Names) -> Result<()> {
    let events = Names::dead_letters(&names.user_events);
    let transactions = Names::dead_letters(&names.transactions);
    stack.create_topics(&[&names.predictions, &events, &transactions], 4)
}

fn settings(flags: &Flags, start_ms: i64) -> Settings {
    Settings {
        seed: flags.seed,
        start_ms,
        rate: flags.rate as f64,
        count: flags.rate * flags.seconds,
        customers: 2_000,
        fraud_share: 0.02,
        label_delay_ms: 2_000.0,
        browsing: 0.5,
    }
}

fn write_past(flags: &Flags, scene: &Scene, shutdown: &CancellationToken) -> Result<()> {
    let plan = Plan {
        settings: Settings {
            seed: flags.seed + 1,
            rate: PAST_PAYMENTS as f64 * 1_000.0 / PAST_MS as f64,
            count: PAST_PAYMENTS,
            label_delay_ms: 600_000.0,
            ..settings(flags, now_ms() - PAST_MS)
        },
        paced: false,
    };
    let mut sink = Sink::settled(&scene.brokers, scene.names.topics())?;
    let bar = progress::bar(PAST_PAYMENTS, "the past");
    run(&plan, &mut sink, &bar, shutdown)?;
    remark_line!("wrote the purchases and labels of {PAST_PAYMENTS} payments of the past 20 hours");
    Ok(())
}

fn start(flags: &Flags, scene: &Scene) -> Result<Programs> {
    let model = match &flags.model {
        Some(path) => path
            .canonicalize()
            .with_context(|| format!("no model at {}", path.display()))?,
        None => scene.model()?,
    };
    let model = model.to_str().context("the model's path is not UTF-8")?;
    let schema = scene.labels_schema()?;
    let spinner = progress::spinner("starting featurizer, scorer and collector");
    let mut programs = Programs {
        featurizer: scene.featurizer("featurizer", &[])?,
        scorer: scene.scorer("scorer", &["--model", model])?,
        collector: scene.collector("collector", &["--max-age", "5s", "--schema", &schema])?,
    };
    programs
        .featurizer
        .wait_ready()
        .context("the featurizer does not get ready")?;
    programs
        .scorer
        .wait_ready()
        .context("the scorer does not get ready")?;
    programs
        .collector
        .wait_ready()
        .context("the collector does not get ready")?;
    spinner.done("featurizer, scorer and collector are ready");
    Ok(programs)
}

fn look_around(scene: &Scene, programs: &Programs) -> Result<()> {
    let names = &scene.names;
    let own = std::env::current_exe()?;
    let redis_port = scene.redis_url.rsplit(':').next().unwrap_or("6379");
    tell_line!("\nEverything keeps running until Ctrl-C. To look around:")?;
    tell_line!(
        "  export KAFKA_BROKERS={} REDIS_URL={}",
        scene.brokers,
        scene.redis_url
    )?;
    tell_line!(
        "  redis-cli -p {redis_port} hgetall {}",
        names.features_key("u_00001")
    )?;
    for topic in [
        &names.transactions,
        &names.predictions,
        &names.user_events,
        &names.labeled_events,
    ] {
        tell_line!("  {} consume {topic} --max 5", own.display())?;
    }
    tell_line!("  ls {}", scene.data_set().display())?;
    tell_line!("  ls {}/*.log", scene.folder().display())?;
    pages::tell(programs, false)
}
