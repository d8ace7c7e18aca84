//! Pictures of the live pages under load, for the documentation: `just draw-pages`.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use sandbox::harness::Scene;
use sandbox::progress;
use sandbox::simulate::{Plan, Settings, Sink, now_ms, run};
use tokio_util::sync::CancellationToken;

use crate::SOON;
use crate::browser::{self, Browser};
use crate::page::{LOOKS, address, wait_ready};

/// Seconds of traffic before the pictures are taken.
const LOAD: u64 = 90;

/// Payments a second.
const RATE: f64 = 400.0;

#[test]
#[ignore = "draws pictures: just draw-pages"]
fn pages_are_drawn_under_load() -> Result<()> {
    ensure!(browser::is_there(), "no browser to draw with");
    let folder = env::var_os("TIDEMILL_PICTURES").context("TIDEMILL_PICTURES names no folder")?;
    let folder = PathBuf::from(folder);
    fs::create_dir_all(&folder)?;
    let scene = Scene::new("pictures", 4)?;
    let schema = scene.labels_schema()?;
    let mut programs = [
        ("featurizer", scene.featurizer("featurizer", &[])?),
        ("scorer", scene.scorer("scorer", &[])?),
        (
            "collector",
            scene.collector("collector", &["--schema", &schema, "--rows", "2000"])?,
        ),
    ];
    for (_, program) in &mut programs {
        program.wait_ready()?;
    }
    let browser = Browser::start(scene.folder())?;
    let plan = Plan {
        settings: Settings {
            seed: 2026,
            start_ms: now_ms(),
            rate: RATE,
            // They go on while the pictures are taken.
            count: RATE as u64 * (LOAD + 60),
            customers: 500,
            fraud_share: 0.02,
            label_delay_ms: 2_000.0,
            browsing: 0.5,
        },
        paced: true,
    };
    let stop = CancellationToken::new();
    let (stopped, topics, brokers) = (stop.clone(), scene.names.topics(), scene.brokers.clone());
    let traffic = thread::spawn(move || -> Result<()> {
        let bar = progress::bar(plan.settings.count, "payments");
        run(&plan, &mut Sink::kafka(&brokers, topics)?, &bar, &stopped).map(drop)
    });
    thread::sleep(Duration::from_secs(LOAD));
    for (name, program) in &programs {
        browser.open(&address(program))?;
        wait_ready(&browser)?;
        if *name == "featurizer" {
            browser.value(
                "(() => { document.querySelector('#user-id').value = 'u_00017'; \
                document.querySelector('#user button').click(); })()",
            )?;
            browser.wait_for("#user", "Right from", SOON)?;
        }
        for (width, scheme) in LOOKS {
            browser.look(width, scheme)?;
            thread::sleep(Duration::from_secs(1));
            browser.picture(&folder.join(format!("{name}-{width}-{scheme}.png")))?;
        }
    }
    stop.cancel();
    traffic.join().ok().context("the traffic panicked")?
}
