//! Other groups that write predictions of the same topic to the same output topic: a second one of everything.

use anyhow::Context as _;
use std::sync::Arc;
use tidemill_core::kafka::{Cluster, Consumer};

use crate::settings::Config;

/// The groups with members that do. A group that has not committed anything yet is not known.
///
/// # Errors
///
/// The brokers do not tell.
pub fn find(config: &Config, cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let shared = &config.shared;
    let mut groups = cluster.groups_on(&shared.topic)?;
    groups.retain(|group| *group != shared.group);
    let place = config.writes_to();
    let mut found = Vec::new();
    for group in groups {
        let outside = Consumer::outside(&shared.kafka, &group, &shared.topic)?;
        let same = outside.writes_to(&place);
        if same.with_context(|| format!("looking at group {group}"))? {
            found.push(group);
        }
    }
    Ok(found)
}

/// Warns of them, without holding up the start.
pub fn warn(config: &Config, cluster: Arc<Cluster>) {
    let config = config.clone();
    tokio::task::spawn_blocking(move || match find(&config, &cluster) {
        Ok(groups) => {
            for group in groups {
                let topic = &config.output_topic;
                tracing::warn!(
                    group,
                    topic,
                    "another group writes predictions of the same transactions to the same topic, so that each has two: \
                     give one of the groups another --output-topic, or stop it"
                );
            }
        }
        Err(error) => tracing::debug!("other groups: {error:#}"),
    });
}
