//! `collector doctor`: what is wrong with brokers, topic, records, group or the place of the data set, and the remedy.

mod files;

use crate::dataset::offset::Offset;
use crate::dataset::store::{Location, Store};
use crate::dataset::{Footer, names, resume};
use crate::encode::frozen::{Freezer, Wanted};
use crate::settings::{Config, Extent, Features};
use anyhow::Context;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tidemill_core::doctor::{Patient, Report, Seen, examine};
use tidemill_core::kafka::lag::Lag;
use tidemill_core::kafka::{Record, in_words};
use tidemill_core::record::{Reason, no_object};
use tokio_util::sync::CancellationToken;

/// Prints the findings; the exit code is 1 where there is a problem.
pub async fn run(
    config: &Config,
    json: bool,
    shutdown: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let patience = match config.extent {
        Extent::Live { max_age } => max_age,
        Extent::Stretch(_) => Duration::ZERO,
    };
    let patient = Patient {
        shared: &config.shared,
        dead_letters: None,
        output: None,
        window: None,
        by_user: false,
        starts_late: false,
        patience,
        recreated: "another --out",
        again: "another --out has all of it collected again",
    };
    let mut report = Report::default();
    let log = examine(&patient, see, &shutdown, &mut report).await;
    match place(&config.out).await {
        Ok(text) => report.ok("out", text),
        Err(error) => report.problem(
            "out",
            in_words(&error),
            "give a folder that can be written to in --out, or the bucket's AWS_... variables",
        ),
    }
    if let Err(error) = schema(config).await {
        report.problem(
            "schema",
            in_words(&error),
            "the flags that the data set was begun with, or another --out",
        );
    }
    if let Err(error) = files(config, &log, &mut report).await {
        report.problem(
            "files",
            in_words(&error),
            "collector verify names what is wrong; move away what was not written there by a collector",
        );
    }
    report.print(json)
}

/// A row needs a JSON object.
fn see(record: &Record<'_>) -> Seen {
    let value = record.value().unwrap_or_default();
    match serde_json::from_slice::<HashMap<String, &RawValue>>(value) {
        Ok(_) => Seen::Usable(None),
        Err(error) => {
            let reject = no_object(value, Reason::NotAnObject, &error.to_string());
            Seen::Rejected(reject)
        }
    }
}

/// Checks the place of the data set: what lies there, and that it can be written to.
async fn place(out: &Location) -> anyhow::Result<String> {
    if let Location::Folder(folder) = out {
        return folder_is_writable(folder);
    }
    let files = Store::open(out, false)?.list(None).await?;
    Ok(format!("{out} can be listed, {} files", files.len()))
}

/// Writes to the folder, or to where it would be made, and leaves nothing behind.
fn folder_is_writable(folder: &Path) -> anyhow::Result<String> {
    let absolute = std::path::absolute(folder)?;
    let there = absolute.ancestors().find(|place| place.exists());
    let there = there.context("there is no such place")?;
    let probe = there.join(format!(".doctor-{}", std::process::id()));
    std::fs::write(&probe, "x")
        .and_then(|()| std::fs::remove_file(&probe))
        .with_context(|| format!("cannot write to {}", there.display()))?;
    Ok(if there == absolute {
        format!("{} can be written to", folder.display())
    } else {
        format!("{} will be made", folder.display())
    })
}

/// Checks the ends of the files in the log, as far as both are known.
async fn files(config: &Config, log: &[Lag], report: &mut Report) -> anyhow::Result<()> {
    let topic = &config.shared.topic;
    let newest = match &config.out {
        _ if log.is_empty() => return Ok(()),
        Location::Folder(folder) if !folder.is_dir() => Vec::new(),
        out => resume::newest(&Store::open(out, false)?, topic).await?,
    };
    let end = |footer: &Footer| (footer.partition, footer.next);
    let ends: Vec<(i32, Offset)> = newest.iter().map(end).collect();
    files::judge(topic, &ends, log, report);
    files::misfits(&newest, report);
    Ok(())
}

/// That the flags agree with the data set that is there.
async fn schema(config: &Config) -> anyhow::Result<()> {
    if matches!(&config.out, Location::Folder(folder) if !folder.is_dir()) {
        return Ok(());
    }
    let store = Store::open(&config.out, false)?;
    // In a data set that is not begun opening a schema that is given would publish it.
    let begun = store.any_with_prefix(names::BEGIN).await?.is_some();
    if begun || store.find(names::SCHEMA).await?.is_some() {
        let wanted = Wanted {
            topic: config.shared.topic.clone(),
            schema: config.schema.clone(),
            headers: config.headers,
            features: config.features.as_ref().map(Features::columns),
            enough: config.enough,
        };
        Freezer::open(store, wanted).await?;
    }
    Ok(())
}
