//! The live part: traffic at its pace, and the progress of each binary.

use std::io::IsTerminal;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use indicatif::{MultiProgress, ProgressBar};
use tidemill_core::remark_line;
use tokio_util::sync::CancellationToken;

use crate::harness::Scene;
use crate::kafka;
use crate::oracle::Watch;
use crate::progress;
use crate::simulate::{Plan, Sink, Written, run as simulate};

/// Writes the plan's traffic, and shows the progress of the binaries meanwhile.
pub(super) fn run(
    plan: &Plan,
    scene: &Scene,
    watch: &Watch,
    shutdown: &CancellationToken,
) -> Result<Written> {
    let count = plan.settings.count;
    let seconds = count as f64 / plan.settings.rate;
    remark_line!("{count} live payments over {seconds:.0} s ...");
    let display = Display::new(count);
    let mut sink = Sink::kafka(&scene.brokers, scene.names.topics())?;
    let written = thread::scope(|scope| {
        let bar = &display.payments;
        let traffic = scope.spawn(move || simulate(plan, &mut sink, bar, shutdown));
        let mut told = Instant::now();
        while !traffic.is_finished() {
            thread::sleep(Duration::from_millis(500));
            display.refresh(scene, watch);
            if told.elapsed() > Duration::from_secs(5) {
                told = Instant::now();
                display.tell();
            }
        }
        traffic
            .join()
            .map_err(|_| anyhow!("the simulation panicked"))?
    });
    display.refresh(scene, watch);
    display.close();
    written
}

/// Four bars on a terminal; elsewhere a line every few seconds.
struct Display {
    payments: ProgressBar,
    predictions: ProgressBar,
    events: ProgressBar,
    labels: ProgressBar,
}

impl Display {
    fn new(count: u64) -> Display {
        let bars = MultiProgress::new();
        Display {
            payments: bars.add(progress::bar(count, "payments")),
            predictions: bars.add(progress::bar(count, "predictions")),
            events: bars.add(progress::endless_bar("user events")),
            labels: bars.add(progress::endless_bar("labels")),
        }
    }

    fn refresh(&self, scene: &Scene, watch: &Watch) {
        let names = &scene.names;
        self.predictions.set_position(watch.count());
        // Groups commit at intervals; a moment without an answer is harmless.
        let position = |group: &str, topic: &str| {
            let positions = kafka::committed(&scene.brokers, group, topic).unwrap_or_default();
            u64::try_from(positions.values().sum::<i64>()).unwrap_or(0)
        };
        let events = position(&names.featurizer_group, &names.user_events);
        self.events.set_position(events.max(self.events.position()));
        let labels = position(&names.collector_group, &names.labeled_events);
        self.labels.set_position(labels.max(self.labels.position()));
    }

    fn tell(&self) {
        if !std::io::stderr().is_terminal() {
            remark_line!(
                "  payments {}, predictions {}, user events applied {}, labels in files {}",
                self.payments.position(),
                self.predictions.position(),
                self.events.position(),
                self.labels.position()
            );
        }
    }

    fn close(&self) {
        for bar in [
            &self.payments,
            &self.predictions,
            &self.events,
            &self.labels,
        ] {
            bar.finish_and_clear();
        }
    }
}
