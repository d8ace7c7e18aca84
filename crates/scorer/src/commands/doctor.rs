//! `scorer doctor`: what is wrong with brokers, topics, records, group, model or feature store, and the remedy.

use std::process::ExitCode;
use std::time::Duration;

use tidemill_core::claim::is_claim;
use tidemill_core::doctor::{Patient, Report, Seen, examine, redis};
use tidemill_core::kafka::{Cluster, Record, in_words};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use crate::features::connect::survey;
use crate::input::decode::{Decoder, Rows};
use crate::model::{Loaded, Manifest, Source, load};
use crate::output::neighbours;
use crate::settings::{Config, Start};

/// Time that the brokers have to answer about other groups.
const PATIENCE: Duration = Duration::from_secs(3);

/// Prints the findings; the exit code is 1 where there is a problem.
///
/// # Errors
///
/// The findings cannot be printed.
pub async fn run(
    config: &Config,
    json: bool,
    shutdown: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    let path = config.model.clone();
    let model = match tokio::task::spawn_blocking(move || load(&path)).await? {
        Ok(model) => Some(model),
        Err(error) => {
            report.problem("model", format!("{error:#}"), "scorer check tells more");
            None
        }
    };
    let manifest = model.as_ref().map(|model| &model.manifest);
    let decoder = manifest.map(Decoder::new);
    let mut rows = Rows::default();
    let see = |record: &Record<'_>| {
        rows = Rows::default();
        if is_claim(record.value()) {
            // Its object is not fetched.
            return Seen::Usable(None);
        }
        let decoded = decoder
            .as_ref()
            .map(|decoder| decoder.decode(record.value(), record.timestamp(), &mut rows));
        match decoded {
            Some(Err(reject)) => Seen::Rejected(reject),
            Some(Ok(_)) => Seen::Usable(None),
            None => Seen::Unjudged,
        }
    };
    let patient = Patient {
        shared: &config.shared,
        dead_letters: Some(&config.dead_letter_topic),
        output: Some(&config.output_topic),
        window: None,
        by_user: false,
        starts_late: config.start == Start::Latest,
        patience: Duration::ZERO,
        recreated: "stop the scorers, then start one with --reset --start earliest",
        again: "--reset --start earliest, with the scorers stopped, has all of it read again",
    };
    examine(&patient, see, &shutdown, &mut report).await;
    company(config, &shutdown, &mut report).await;
    if let Some(model) = &model {
        judge(model, &mut report);
    }
    if manifest.is_some_and(Manifest::reads_features) {
        store(config, &mut report).await;
    }
    report.print(json)
}

/// Looks for other groups that write to the same place. Where no broker answers, others have said so.
async fn company(config: &Config, shutdown: &CancellationToken, report: &mut Report) {
    let kafka = &config.shared.kafka;
    let Ok(cluster) = Cluster::connect(kafka, PATIENCE, shutdown).await else {
        return;
    };
    match block_in_place(|| neighbours::find(config, &cluster)) {
        Ok(groups) => {
            for group in groups {
                report.warning(
                    "output",
                    format!(
                        "group {group} writes predictions of the same transactions to {} too",
                        config.output_topic
                    ),
                    "give one of the groups another --output-topic, or stop it",
                );
            }
        }
        Err(error) => report.warning(
            "output",
            in_words(&error),
            "check the right to describe groups",
        ),
    }
}

fn judge(model: &Loaded, report: &mut Report) {
    let manifest = &model.manifest;
    report.ok(
        "model",
        format!(
            "loads, {} inputs, {} golden vectors, threshold {}, sha256 {}",
            manifest.inputs.len(),
            manifest.golden.len(),
            manifest.threshold,
            &model.sha256[..12]
        ),
    );
    if manifest.golden.is_empty() {
        report.warning(
            "model",
            "no golden vectors: a model that scores wrongly is not noticed",
            "add [[golden]] inputs with their scores to the manifest",
        );
    }
    let bare: Vec<&str> = manifest
        .inputs
        .iter()
        .filter(|input| input.from == Source::Features && input.default.is_none())
        .map(|input| input.name.as_str())
        .collect();
    if !bare.is_empty() {
        report.warning(
            "model",
            format!(
                "{}: 0 wherever Redis does not answer in time",
                bare.join(", ")
            ),
            "give these features a default in the manifest, such as an empty window's value",
        );
    }
}

async fn store(config: &Config, report: &mut Report) {
    let found = match survey(&config.redis, &config.key_prefix).await {
        Ok(found) => found,
        Err(error) => {
            report.problem(
                "redis",
                format!("{}: {error}: all features are defaults", config.redis),
                config.redis.verdict(&error).remedy,
            );
            return;
        }
    };
    redis::judge(&found.address, &found.info, report);
    let prefix = &config.key_prefix;
    match found.owner {
        Some(owner) => report.ok("owner", format!("key prefix {prefix:?} is kept by {owner}")),
        None => report.problem(
            "owner",
            format!(
                "no featurizer has written under key prefix {prefix:?}: all features are empty"
            ),
            "give the featurizer's --key-prefix, or start it",
        ),
    }
}
